// @signalwire/compatibility-api (npm) against the sandbox: paths as the client has them, without /api/laml.
"use strict";

const { FROM, GROUP, MEDIA, PROJECT, TO, assert, day, load, refused, run, url } = require("./cases.cjs");
const { RestClient } = load("@signalwire/compatibility-api");

const connect = (token) => {
  const client = RestClient(PROJECT, token, { signalwireSpaceUrl: url.replace("http://", "") });
  client.api.baseUrl = url; // the client itself always makes it https
  return client;
};
const client = connect("PT-sandbox");
const create = (fields) => client.messages.create({ to: TO, from: FROM, body: "Hi", ...fields });
const sids = (messages) => messages.map((one) => one.sid);

run("@signalwire/compatibility-api", {
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
    assert.deepEqual(await client.messages.list({ to: "+12025550141", dateSent: new Date(day(1)) }), []);
  },
  pages: async () => {
    const made = [];
    for (let n = 0; n < 5; n++) made.unshift((await create({ to: "+12025550144" })).sid);
    assert.deepEqual(sids(await client.messages.list({ to: "+12025550144", pageSize: 2 })), made);
  },
  media: async () => {
    const made = await create({ mediaUrl: MEDIA });
    const listed = await client.messages(made.sid).media.list();
    assert.deepEqual(listed.map((one) => one.contentType), ["image/png", "application/pdf"]);
  },
  errors: async () => {
    const error = await refused(create({ to: "+12025550190" }));
    assert.deepEqual([error.status, error.code], [422, 21211]);
  },
  auth: async () => {
    assert.equal((await refused(connect("bad-token").messages.list())).status, 401);
  },
  "too many requests": async () => {
    assert.equal((await refused(create({ to: "+12025550195" }))).status, 429);
    assert.ok((await create({ to: "+12025550195" })).sid);
  },
  "number group": async () => {
    const made = await create({ from: undefined, messagingServiceSid: GROUP });
    assert.deepEqual([made.from, made.messagingServiceSid], ["+12125550142", GROUP]);
  },
});
