// Downloads random files of the catalogue from an HTTP gateway of the storage network, and checks what comes.
//
// What it needs, as variables:
//   AMMO_URL  path of the download catalogue (01-download-files.csv); testwarden sets it for the task's option `data`
//   GATEWAY   where the gateway is, for example http://gateway.example.org:8080; a file is at GATEWAY/ADDRESS/NAME
//   SIZE      which files of the catalogue, by the name of their size (tiny)
//   PAUSE     seconds between two downloads of one virtual user (1)
//
// By hand: k6 run -e AMMO_URL=../01-download-files.csv -e GATEWAY=http://127.0.0.1:8080 gateway-download.js

import { check, sleep } from 'k6';
import { SharedArray } from 'k6/data';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

// The least and the most bytes of a file, by the name of its size: the same as in docs/control-file.md.
const SIZES = {
  tiny: [1, 128 * KIB],
  small: [1, 4 * MIB],
  medium: [1, 32 * MIB],
  large: [1, 64 * MIB],
  huge: [128 * MIB, GIB],
  giga: [1, 20 * GIB],
  tera: [1, 100 * GIB],
  chunka: [4 * MIB, 4 * MIB],
  chunkb: [64 * MIB, 64 * MIB],
};

const gateway = (__ENV.GATEWAY || '').replace(/\/+$/, '');
const size = (__ENV.SIZE || 'tiny').toLowerCase();
const pause = Number(__ENV.PAUSE || '1');

// What is wrong with the variables ends the test before it begins (exit code 107), not each download of it.
if (!/^https?:\/\/./.test(gateway)) {
  throw new Error('GATEWAY must be the address of an HTTP gateway');
}
if (!(size in SIZES)) {
  throw new Error(`SIZE must be one of ${Object.keys(SIZES).join(', ')}`);
}
if (!(pause >= 0)) {
  throw new Error('PAUSE must be a number of seconds');
}

// Read once and shared by all virtual users.
const files = new SharedArray('files', () => readCatalogue(open(__ENV.AMMO_URL)));
if (files.length === 0) {
  throw new Error(`the catalogue has no ${size} file`);
}

export const options = {
  vus: 2,
  duration: '20s',
  thresholds: {
    // Almost every file must come, whole.
    file_whole: ['rate>0.95'],
    http_req_failed: ['rate<0.05'],
  },
};

const fileWhole = new Rate('file_whole');
const fileBytes = new Counter('file_bytes');
// true: a time, so that k6 shows it as one. Unlike http_req_duration it counts only files that came whole.
const fileTime = new Trend('file_time', true);

export default function () {
  const file = files[Math.floor(Math.random() * files.length)];
  // The name tag keeps k6 from making a series of its own for every address.
  const answer = http.get(`${gateway}/${file.address}/${encodeURIComponent(file.name)}`, {
    responseType: 'binary',
    tags: { name: `GET ${size}` },
  });
  const length = answer.body ? answer.body.byteLength : 0;
  const whole = check(answer, {
    'status is 200': (it) => it.status === 200,
    'size is right': () => length >= file.least && length <= file.most,
  });
  fileWhole.add(whole);
  if (whole) {
    fileBytes.add(length);
    fileTime.add(answer.timings.duration);
  }
  sleep(pause);
}

// Given the text of the catalogue, return its rows of the wanted size, each with the bytes that its file may have.
function readCatalogue(text) {
  return text
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .slice(1) // the names of the columns: fileSize,name,address,md5
    .map((line) => line.split(',').map((part) => part.trim()))
    .filter(([fileSize, , address]) => (fileSize || '').toLowerCase() === size && address)
    .map(([, name, address]) => {
      const [least, most] = bytesOf(address);
      return { name, address, least, most };
    });
}

// The embedded network tells a file's exact size in its address, `seed-SEED-SIZE`; of other files only the class is known.
function bytesOf(address) {
  const seeded = /^seed-\d+-(\d+)$/.exec(address);
  return seeded ? [Number(seeded[1]), Number(seeded[1])] : SIZES[size];
}
