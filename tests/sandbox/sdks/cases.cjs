// Runs one client's cases against the sandbox at argv[2] and prints what became of each, as JSON; see cases.py.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");

const hour = 3600 * 1000;

exports.assert = assert;
exports.url = process.argv[2];
exports.FROM = "+12025550100";
exports.TO = "+12025550123";
exports.MEDIA = ["https://example.com/a.png", "https://example.com/b.pdf"];
exports.PROFILE = "1b2c3d4e-0000-4000-8000-00000000abcd";
exports.GROUP = "2b2c3d4e-0000-4000-8000-00000000abcd";
exports.SERVICE = "MG" + "7".repeat(32);
exports.PROJECT = "5a5a5a5a-0000-4000-8000-5a5a5a5a5a5a";
exports.ACCOUNT = "AC" + "5a".repeat(16);
exports.inAnHour = () => new Date(Date.now() + hour);
exports.day = (offset) => new Date(Date.now() + 24 * offset * hour).toISOString().slice(0, 10);

/** The error with which `promise` fails. */
exports.refused = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: "nothing was raised" });
};

/** Run `cases` (name -> async function) and print `{"version", "cases": {name: "passed" or a trace}}`. */
exports.run = async (name, cases) => {
  const file = path.join(process.argv[3], "node_modules", name, "package.json");
  const results = {};
  for (const [title, test] of Object.entries(cases)) {
    try {
      await test();
      results[title] = "passed";
    } catch (error) {
      results[title] = String(error.stack || error);
    }
  }
  console.log(JSON.stringify({ version: JSON.parse(fs.readFileSync(file)).version, cases: results }));
};

/** The package `name` of the folder in argv[3]. */
exports.load = (name) => require(path.join(process.argv[3], "node_modules", name));
