// telnyx (npm) against the sandbox.
"use strict";

const { FROM, MEDIA, PROFILE, TO, assert, inAnHour, load, refused, run, url } = require("./cases.cjs");
const { Telnyx } = load("telnyx");

const connect = (apiKey) => new Telnyx({ apiKey, baseURL: `${url}/v2`, maxRetries: 0 });
const client = connect("KEY-sandbox");
const send = async (fields) => (await client.messages.send({ to: TO, from: FROM, text: "Hi", ...fields })).data;
const records = async (filter, others) => {
  const found = [];
  for await (const one of client.detailRecords.list({ filter: { record_type: "messaging", ...filter }, ...others }))
    found.push(one.uuid);
  return found;
};

run("telnyx", {
  "create and fetch": async () => {
    const made = await send();
    const found = (await client.messages.retrieve(made.id)).data;
    assert.deepEqual([found.text, found.to[0].status, found.from.phone_number], ["Hi", "delivered", FROM]);
  },
  "list filters": async () => {
    const made = await send({ to: "+12025550141" });
    assert.deepEqual(await records({ cld: "+12025550141" }), [made.id]);
    assert.deepEqual(await records({ cld: "+12025550141", date_range: "today" }), [made.id]);
    assert.deepEqual(await records({ cld: "+12025550141", direction: "inbound" }), []);
  },
  pages: async () => {
    const made = [];
    for (let n = 0; n < 5; n++) made.push((await send({ to: "+12025550144" })).id);
    assert.deepEqual(await records({ cld: "+12025550144" }, { "page_size": 2, sort: ["created_at"] }), made);
  },
  media: async () => {
    const found = (await client.messages.retrieve((await send({ media_urls: MEDIA })).id)).data;
    assert.deepEqual([found.type, found.media.map((one) => one.url)], ["MMS", MEDIA]);
  },
  errors: async () => {
    const error = await refused(send({ to: "+12025550190" }));
    assert.deepEqual([error.status, error.error.errors[0].code], [400, "40310"]);
  },
  auth: async () => {
    assert.equal((await refused(connect("KEY_bad").messages.send({ to: TO, from: FROM, text: "Hi" }))).status, 401);
  },
  "too many requests": async () => {
    assert.equal((await refused(send({ to: "+12025550195" }))).status, 429);
    assert.ok((await send({ to: "+12025550195" })).id);
  },
  "schedule and cancel": async () => {
    const fields = { to: TO, from: FROM, text: "Hi", send_at: inAnHour().toISOString() };
    const made = (await client.messages.schedule(fields)).data;
    assert.equal((await client.messages.cancelScheduled(made.id)).to[0].status, "cancelled");
    assert.equal((await refused(client.messages.cancelScheduled(made.id))).status, 403);
  },
  "number pool": async () => {
    const made = (await client.messages.sendNumberPool({ to: TO, messaging_profile_id: PROFILE, text: "Hi" })).data;
    assert.equal(made.from.phone_number, "+12125550142");
  },
  encodings: async () => {
    assert.equal((await send({ encoding: "ucs2", text: "x".repeat(71) })).parts, 2);
    assert.equal((await refused(send({ encoding: "gsm7", text: "ç" }))).status, 400);
  },
  lookups: async () => {
    const found = (await client.numberLookup.retrieve("+12025550187")).data;
    assert.deepEqual([found.phone_number, found.carrier.type], ["+12025550187", "voip"]);
  },
});
