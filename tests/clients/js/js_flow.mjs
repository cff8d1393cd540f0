// Drives a Godwit with @aws-sdk/client-sms 3.523.0 as it comes: every job operation, catalog and connectors, refusals
// by their classes, and every paginator that the SDK has.
//
// Needs what ../boto3_flow.py needs, and GODWIT_CLIENTS_JS: the folder with the SDK. It lets three runs end, and leaves
// the service without a live job and without a connector.

import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";

const require = createRequire(`${process.env.GODWIT_CLIENTS_JS}/package.json`);
const sdk = require("@aws-sdk/client-sms");

const endpoint = process.env.GODWIT_ENDPOINT ?? process.env.AWS_ENDPOINT_URL_SMS;
const runBound = 1000 * Number(process.env.GODWIT_RUN_BOUND ?? "300");
const sms = new sdk.SMS({ endpoint, region: process.env.AWS_REGION ?? "us-east-1", maxAttempts: 1 });
const nobody = "sms-job-00000000";
const day = 86_400_000;

let passed = 0;
const failed = [];

function check(name, holds, shown = "") {
  if (holds) passed += 1;
  else failed.push(name);
  console.log(holds ? `ok    ${name}` : `FAIL  ${name}: ${JSON.stringify(shown)}`);
  return Boolean(holds);
}

function equal(name, found, wanted) {
  return check(name, JSON.stringify(found) === JSON.stringify(wanted), { found, wanted });
}

async function wait(name, bound, probe) {
  const end = Date.now() + bound;
  for (;;) {
    const found = await probe();
    if (found) {
      check(name, true);
      return found;
    }
    if (Date.now() > end) {
      check(name, false, `not within ${bound} ms`);
      throw new Error(name);
    }
    await pause(200);
  }
}

// The call ends with the SDK's class `type`.
async function refused(name, type, call) {
  try {
    check(name, false, await call());
  } catch (error) {
    const good = error instanceof type && error instanceof sdk.SMSServiceException;
    const said = error.message.length > 10 && error.$metadata?.requestId?.length > 8 && error.$fault === "client";
    check(name, good && said, `${error.name}: ${error.message}`);
  }
}

// Every item of a list comes exactly once and in the list's order, however the SDK's paginator cuts it into pages.
async function inPages(paginate, members, id, input = {}) {
  const ids = async (config) => {
    const pages = [];
    for await (const page of paginate({ client: sms, ...config }, input)) {
      pages.push(page[members].map((item) => item[id]));
    }
    return pages;
  };
  const whole = (await ids({})).flat();
  check(`${members}: more than a page of one, and nothing twice`, whole.length >= 2 && new Set(whole).size === whole.length);
  equal(`${members}: a page for each`, await ids({ pageSize: 1 }), whole.map((item) => [item]));
  equal(`${members}: pages of two`, (await ids({ pageSize: 2 })).flat(), whole);
  const first = (await paginate({ client: sms, pageSize: 1 }, input).next()).value;
  equal(`${members}: a token goes on`, (await ids({ startingToken: first.nextToken })).flat(), whole.slice(1));
  return whole;
}

async function jobOf(replicationJobId) {
  return (await sms.getReplicationJobs({ replicationJobId })).replicationJobList[0];
}

async function runOf(replicationJobId, wanted) {
  const { replicationRunList } = await sms.getReplicationRuns({ replicationJobId });
  return replicationRunList.find((run) => wanted(run) && ["COMPLETED", "FAILED"].includes(run.state));
}

async function connectorsAndCatalog() {
  const { connectorList, $metadata } = await sms.getConnectors({});
  check("every answer has a request id", $metadata.requestId.length > 8, $metadata);
  equal("the connector is healthy", connectorList[0].status, "HEALTHY");
  check("it says since when", connectorList[0].associatedOn instanceof Date, connectorList[0]);
  await inPages(sdk.paginateGetConnectors, "connectorList", "connectorId");

  await sms.importServerCatalog({});
  const available = async () => {
    const answer = await sms.getServers({});
    return answer.serverCatalogStatus === "AVAILABLE" && answer;
  };
  const { serverList, lastModifiedOn } = await wait("the catalog is there", 90_000, available);
  check("it says when it changed", lastModifiedOn instanceof Date, lastModifiedOn);
  const ids = await inPages(sdk.paginateGetServers, "serverList", "serverId");
  equal("the list is whole", ids, serverList.map((server) => server.serverId));
  const address = serverList[1].vmServer.vmServerAddress;
  const found = (await sms.getServers({ vmServerAddressList: [address] })).serverList;
  equal("a server is found by its address", found.map((server) => server.serverId), [ids[1]]);
  return ids;
}

async function badInput(serverId) {
  const { InvalidParameterException: Invalid, MissingRequiredParameterException: Missing } = sdk;
  const good = { serverId, seedReplicationTime: new Date(Date.now() + 3_600_000), frequency: 12 };
  const create = (change) => () => sms.createReplicationJob({ ...good, ...change });
  await refused("an unknown server", Invalid, create({ serverId: "s-00000000" }));
  await refused("a start too far ahead", Invalid, create({ seedReplicationTime: new Date(Date.now() + 31 * day) }));
  await refused("an interval out of range", Invalid, create({ frequency: 25 }));
  await refused("an interval and runOnce", Invalid, create({ runOnce: true }));
  await refused("neither of them", Missing, create({ frequency: undefined }));
  await refused("a foreign token", Invalid, () => sms.getServers({ nextToken: "x" }));
  const Gone = sdk.ReplicationJobNotFoundException;
  await refused("an unknown job is not changed", Gone, () => sms.updateReplicationJob({ replicationJobId: nobody, frequency: 2 }));
  await refused("an unknown job is not deleted", Gone, () => sms.deleteReplicationJob({ replicationJobId: nobody }));
  await refused("an unknown job has no runs", Invalid, () => sms.getReplicationRuns({ replicationJobId: nobody }));
  const start = () => sms.startOnDemandReplicationRun({ replicationJobId: nobody });
  await refused("an unknown job is not started", Invalid, start);
  await refused("an unknown connector stays", Invalid, () => sms.disassociateConnector({ connectorId: "c-00000000000000000" }));
}

async function aJob(serverId) {
  const seedReplicationTime = new Date(Math.floor(Date.now() / 1000) * 1000 + 2000);
  const more = { licenseType: "BYOL", roleName: "sms", numberOfRecentAmisToKeep: 3, encrypted: true };
  const given = { serverId, frequency: 12, runOnce: false, description: "from JavaScript é 😀", ...more };
  const { replicationJobId } = await sms.createReplicationJob({ ...given, seedReplicationTime });
  const Twice = sdk.ReplicationJobAlreadyExistsException;
  await refused("a second live job", Twice, () => sms.createReplicationJob({ ...given, seedReplicationTime }));
  const members = (job) => Object.fromEntries(Object.keys(given).map((name) => [name, job[name]]));
  let shown = await jobOf(replicationJobId);
  equal("the job is as it was created", members(shown), given);
  equal("it begins when it was told to", shown.seedReplicationTime, seedReplicationTime);
  await sms.updateReplicationJob({ replicationJobId, frequency: 6 });
  equal("the interval is changed, the rest is not", members(await jobOf(replicationJobId)), { ...given, frequency: 6 });
  await sms.updateReplicationJob({ replicationJobId, description: "", numberOfRecentAmisToKeep: 7 });
  shown = await jobOf(replicationJobId);
  equal("an empty description removes it", [shown.description, shown.numberOfRecentAmisToKeep], [undefined, 7]);
  return replicationJobId;
}

async function itsRuns(replicationJobId) {
  const first = await wait("the first run ends", runBound, () => runOf(replicationJobId, (run) => run.type === "AUTOMATIC"));
  check("it is completed and made an image", first.state === "COMPLETED" && /^ami-[0-9a-f]{17}$/.test(first.amiId), first);
  check("it ended after it was due", first.completedTime >= first.scheduledStartTime, first);
  const start = (description) => sms.startOnDemandReplicationRun({ replicationJobId, description });
  for (const description of ["extra 1", "extra 2"]) {
    const { replicationRunId } = await start(description);
    const run = await wait(`${description} ends`, runBound, () => runOf(replicationJobId, (r) => r.replicationRunId === replicationRunId));
    equal(`${description} is completed`, [run.state, run.type, run.description], ["COMPLETED", "ON_DEMAND", description]);
  }
  await refused("a third extra run", sdk.ReplicationRunLimitExceededException, () => start("extra 3"));
  await inPages(sdk.paginateGetReplicationRuns, "replicationRunList", "replicationRunId", { replicationJobId });
}

// Each member changes itself and what goes with it, and nothing else of a job that rests.
async function eachChangeAlone(replicationJobId) {
  const nextReplicationRunStartTime = new Date(Math.floor(Date.now() / 1000) * 1000 + 3 * day);
  const changes = [
    [{ roleName: "other" }],
    [{ licenseType: "AWS" }],
    [{ encrypted: false }],
    [{ encrypted: true }],
    [{ encrypted: false }],
    [{ kmsKeyId: "alias/flows" }, { encrypted: true }],
    [{ nextReplicationRunStartTime }],
  ];
  // The run that is listed ahead moves with the schedule.
  const lasting = ({ replicationRunList, ...job }) => Object.entries(job).sort();
  for (const [change, more] of changes) {
    const [name] = Object.keys(change);
    const before = await jobOf(replicationJobId);
    const wanted = lasting({ ...before, ...change, ...more });
    check(`${name} is a change`, JSON.stringify(wanted) !== JSON.stringify(lasting(before)), before);
    await sms.updateReplicationJob({ replicationJobId, ...change });
    equal(`${name} is changed, the rest is not`, lasting(await jobOf(replicationJobId)), wanted);
  }
}

async function theEnd(jobs) {
  for (const replicationJobId of jobs) {
    await sms.deleteReplicationJob({ replicationJobId });
    const ended = async () => (await jobOf(replicationJobId)).state === "DELETED";
    await wait("the deleted job stays listed as such", 90_000, ended);
    const Barred = sdk.OperationNotPermittedException;
    await refused("it starts no run", Barred, () => sms.startOnDemandReplicationRun({ replicationJobId }));
    await refused("it is not changed", Barred, () => sms.updateReplicationJob({ replicationJobId, frequency: 1 }));
  }
  await sms.deleteServerCatalog({});
  const catalog = await sms.getServers({});
  equal("the catalog is emptied", [catalog.serverCatalogStatus, catalog.serverList], ["DELETED", []]);
  for (const { connectorId } of (await sms.getConnectors({})).connectorList) {
    await sms.disassociateConnector({ connectorId });
  }
  equal("the connectors are gone", (await sms.getConnectors({})).connectorList, []);
  await refused("no connector, no import", sdk.NoConnectorsAvailableException, () => sms.importServerCatalog({}));
}

async function flow() {
  const paginators = Object.keys(sdk).filter((name) => name.startsWith("paginate")).sort();
  const driven = ["Connectors", "ReplicationJobs", "ReplicationRuns", "Servers"].map((noun) => `paginateGet${noun}`);
  equal("these are all paginators that the SDK has", paginators, driven);
  const [server, other] = await connectorsAndCatalog();
  await badInput(server);
  const first = await aJob(server);
  const once = { serverId: other, seedReplicationTime: new Date(Date.now() + 29 * day), runOnce: true };
  const second = (await sms.createReplicationJob(once)).replicationJobId;
  const shown = await jobOf(second);
  equal("a one-time job has no interval", [shown.runOnce, shown.frequency], [true, undefined]);
  await inPages(sdk.paginateGetReplicationJobs, "replicationJobList", "replicationJobId");
  await itsRuns(first);
  await eachChangeAlone(first);
  const app = sms.launchApp({ appId: "app-0123456789abcdef0" }).then(() => "answered", (error) => error.name);
  equal("what does not work yet says so", await app, "UnknownOperationException");
  await theEnd([first, second]);
}

try {
  await flow();
} catch (error) {
  console.log(error.stack);
  check("the flow came to its end", false, "see the trace above");
}
for (const name of failed) console.log(`failed: ${name}`);
console.log(`${passed} passed, ${failed.length} failed`);
process.exit(failed.length ? 1 : 0);
