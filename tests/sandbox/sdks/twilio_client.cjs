// twilio (npm) against the sandbox.
"use strict";

const { ACCOUNT, FROM, MEDIA, SERVICE, TO, assert, day, inAnHour, load, refused, run, url } = require("./cases.cjs");
const twilio = load("twilio");

const connect = (secret) => {
  const client = twilio(ACCOUNT, secret);
  client.api.baseUrl = client.lookups.baseUrl = url;
  return client;
};
const client = connect("5a".repeat(16));
const create = (fields) => client.messages.create({ to: TO, from: FROM, body: "Hi", ...fields });
const sids = (messages) => messages.map((one) => one.sid);

run("twilio", {
  "create and fetch": async () => {
    const made = await create();
    const found = await client.messages(made.sid).fetch();
    assert.deepEqual([found.to, found.from, found.body, found.status], [TO, FROM, "Hi", "delivered"]);
  },
  "list filters": async () => {
    const made = await create({ to: "+12025550141" });
    const today = new Date(day(0));
    for (const fits of [{}, { dateSent: today }, { dateSentAfter: today }, { dateSentBefore: today }])
      assert.deepEqual(sids(await client.messages.list({ to: "+12025550141", ...fits })), [made.sid]);
    for (const empty of [{ dateSent: new Date(day(1)) }, { dateSentAfter: new Date(day(1)) }, { from: "+12025550143" }])
      assert.deepEqual(await client.messages.list({ to: "+12025550141", ...empty }), []);
  },
  pages: async () => {
    const made = [];
    for (let n = 0; n < 5; n++) made.unshift((await create({ to: "+12025550144" })).sid);
    assert.deepEqual(sids(await client.messages.list({ to: "+12025550144", pageSize: 2 })), made);
    const first = await client.messages.page({ to: "+12025550144", pageSize: 2 });
    assert.deepEqual(sids((await first.nextPage()).instances), made.slice(2, 4));
  },
  media: async () => {
    const made = await create({ mediaUrl: MEDIA });
    const listed = await client.messages(made.sid).media.list();
    assert.deepEqual(listed.map((one) => one.contentType), ["image/png", "application/pdf"]);
  },
  errors: async () => {
    const error = await refused(create({ to: "+12025550190" }));
    assert.deepEqual([error.status, error.code], [400, 21211]);
  },
  auth: async () => {
    const error = await refused(connect("bad-token").messages.list());
    assert.deepEqual([error.status, error.code], [401, 20003]);
  },
  "too many requests": async () => {
    const error = await refused(create({ to: "+12025550195" }));
    assert.deepEqual([error.status, error.code], [429, 20429]);
    assert.ok((await create({ to: "+12025550195" })).sid);
  },
  "schedule and cancel": async () => {
    const fields = { from: undefined, messagingServiceSid: SERVICE, scheduleType: "fixed", sendAt: inAnHour() };
    const made = await create(fields);
    assert.equal(made.status, "scheduled");
    assert.equal((await client.messages(made.sid).update({ status: "canceled" })).status, "canceled");
    assert.equal((await refused(client.messages(made.sid).update({ status: "canceled" }))).status, 400);
  },
  "messaging service": async () => {
    const made = await create({ from: undefined, messagingServiceSid: SERVICE });
    assert.equal((await client.messages(made.sid).fetch()).from, "+12125550142");
  },
  lookups: async () => {
    const fields = { fields: "line_type_intelligence,reassigned_number", lastVerifiedDate: "20260501" };
    const found = await client.lookups.v2.phoneNumbers("+12025550186").fetch(fields);
    assert.deepEqual([found.valid, found.lineTypeIntelligence.type], [true, "mobile"]);
    assert.equal(found.reassignedNumber.isNumberReassigned, "yes");
  },
  "signatures of ours": async () => {
    const vectors = JSON.parse(process.env.SIGNATURES);
    assert.ok(vectors.length >= 4);
    for (const [key, signed, fields, algorithm, signature] of vectors)
      assert.ok(twilio.validateRequest(key, signature, signed, fields, algorithm), signed);
  },
});
