#!/bin/sh
# Makes the secrets of docker-compose.yml: random ones, in env/, readable by you alone. What is there is kept, so it may be run
# as often as you like.
set -eu
umask 077

folder=$(cd "$(dirname "$0")" && pwd)/env
mkdir -p "$folder"
chmod 700 "$folder"

# Prints a random secret: 32 bytes as 64 hex digits, which no env file, shell or header misreads.
secret() {
    value=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
    [ "${#value}" -eq 64 ] || { echo 'no random bytes came from /dev/urandom' >&2; exit 1; }
    printf '%s' "$value"
}

# Moves what was written to $2 to the file $1, unless that is there: it appears whole or not at all.
keep() {
    file=$folder/$1
    if [ -s "$file" ]; then
        chmod 600 "$file"
        echo "kept    $file"
        return
    fi
    rm -f "$file.new"
    cat >"$file.new" # from standard input: an argument would show in the process list
    mv "$file.new" "$file"
    echo "written $file"
}

influxdb_password=$(secret)
grafana_password=$(secret)
token=$(secret)

keep influxdb.env <<END
DOCKER_INFLUXDB_INIT_USERNAME=testwarden
DOCKER_INFLUXDB_INIT_PASSWORD=$influxdb_password
END
keep grafana.env <<END
GF_SECURITY_ADMIN_USER=testwarden
GF_SECURITY_ADMIN_PASSWORD=$grafana_password
END
keep token.env <<END
DOCKER_INFLUXDB_INIT_ADMIN_TOKEN=$token
END

cat <<'END'

Next:  docker compose up -d --wait     in this folder
       http://127.0.0.1:3000           Grafana; user testwarden, password in env/grafana.env
       http://127.0.0.1:8086           InfluxDB; organisation and bucket testwarden, token in env/token.env
END
