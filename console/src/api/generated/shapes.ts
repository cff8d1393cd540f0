// Made from crates/api/src/shapes by a test of godwit-api. To make it anew:
// GODWIT_BINDINGS=write cargo test -p godwit-api bindings

/**
 * An access key, without its secret.
 */
export type AccessKeyDescription = { 
/**
 * Its id.
 */
accessKeyId: string, 
/**
 * Whose it is.
 */
userName: string, 
/**
 * Whether it is taken.
 */
enabled: boolean, 
/**
 * When it was created.
 */
createdOn: EpochSeconds, 
/**
 * When it was last used, to a quarter of an hour.
 */
lastUsedOn?: EpochSeconds, 
/**
 * When it ends, if it was rotated.
 */
endsOn?: EpochSeconds, };

/**
 * Request of the operations that need to know an access key and nothing else.
 */
export type AccessKeyRequest = { 
/**
 * Which key.
 */
accessKeyId: string, };

/**
 * Request of `AssociateConnector`.
 */
export type AssociateConnectorRequest = { 
/**
 * What people call it.
 */
name: string, 
/**
 * Kind.
 */
type: ConnectorType, 
/**
 * Absolute path of a QMP socket, or of a folder of them, where the service runs.
 */
socket: string, };

/**
 * Answer of `AssociateConnector`.
 */
export type AssociateConnectorResponse = { 
/**
 * The new connector's id.
 */
connectorId: string, };

/**
 * A call, or something that the service did by itself.
 */
export type AuditRecordDescription = { 
/**
 * Its place in the trail, from 1.
 */
number: number, 
/**
 * When it began.
 */
at: EpochSeconds, 
/**
 * The user's name; `godwit` for the service itself.
 */
user?: string, 
/**
 * The access key that signed the call.
 */
accessKeyId?: string, 
/**
 * What, as policies name it.
 */
action: string, 
/**
 * With which parameters: JSON, without secrets.
 */
parameters: string, 
/**
 * `OK`, the code of the error, or `UNKNOWN` if the service stopped meanwhile.
 */
outcome: string, 
/**
 * The error's message.
 */
message?: string, 
/**
 * The id that its reply carries.
 */
requestId?: string, 
/**
 * The address that it came from.
 */
source?: string, 
/**
 * Hash of the record before.
 */
previousHash: string, 
/**
 * Hash of this one.
 */
hash: string, };

/**
 * Bytes with their bounds.
 */
export type ByteRange = { 
/**
 * It will hardly be less.
 */
low: number, 
/**
 * As often more as less.
 */
likely: number, 
/**
 * It will hardly be more.
 */
high: number, };

/**
 * How an import of the catalog goes, or went.
 */
export type CatalogImport = { 
/**
 * When it began.
 */
beganOn: EpochSeconds, 
/**
 * When it ended; absent while it is at work.
 */
endedOn?: EpochSeconds, 
/**
 * Connectors that are asked.
 */
connectors: number, 
/**
 * Of these, those that have answered.
 */
answered: number, 
/**
 * Those that gave no servers.
 */
failed: number, 
/**
 * Why they did not; the first ones only if they are very many.
 */
failures: Array<CatalogImportFailure>, 
/**
 * Servers that are listed so far.
 */
servers: number, };

/**
 * A connector that gave no servers to an import.
 */
export type CatalogImportFailure = { 
/**
 * Which.
 */
connectorId: string, 
/**
 * What people call it.
 */
connectorName: string, 
/**
 * Why, and what to do.
 */
reason: string, };

/**
 * What can change.
 */
export type ChangeKind = "jobs" | "runs" | "progress" | "servers" | "catalog" | "connectors" | "images" | "snapshots" | "store" | "storeUse" | "notifications" | "audit" | "users" | "policies" | "roles" | "keys" | "limits";

/**
 * Body of `PUT /session/password`. Holds secrets, so it has no `Debug`.
 */
export type ChangePasswordRequest = { 
/**
 * The password from now on.
 */
newPassword: string, 
/**
 * The password until now; not needed in a session that was begun with a sign-in link, or if there is none.
 */
currentPassword?: string, };

/**
 * Represents a connector.
 */
export type Connector = { 
/**
 * The ID of the connector.
 */
connectorId?: string, 
/**
 * The connector version.
 */
version?: string, 
/**
 * The status of the connector.
 */
status?: ConnectorStatus, 
/**
 * The capabilities of the connector.
 */
capabilityList?: Array<ConnectorCapability>, 
/**
 * The name of the VM manager.
 */
vmManagerName?: string, 
/**
 * The VM management product.
 */
vmManagerType?: VmManagerType, 
/**
 * The ID of the VM manager.
 */
vmManagerId?: string, 
/**
 * The IP address of the connector.
 */
ipAddress?: string, 
/**
 * The MAC address of the connector.
 */
macAddress?: string, 
/**
 * The time the connector was associated.
 */
associatedOn?: EpochSeconds, };

/**
 * Values of `ConnectorCapability`.
 */
export type ConnectorCapability = "VSPHERE" | "SCVMM" | "HYPERV-MANAGER" | "SNAPSHOT_BATCHING" | "SMS_OPTIMIZED";

/**
 * A connector.
 */
export type ConnectorDescription = { 
/**
 * Its id.
 */
connectorId: string, 
/**
 * What people call it.
 */
name: string, 
/**
 * Kind.
 */
type: ConnectorType, 
/**
 * Path of its socket or folder of sockets.
 */
socket: string, 
/**
 * Whether the last contact succeeded.
 */
status: ConnectorStatus, 
/**
 * Why it is unhealthy.
 */
statusReason?: string, 
/**
 * Stable id of the VM manager.
 */
managerId: string, 
/**
 * What people call the VM manager.
 */
managerName: string, 
/**
 * The VM manager's version.
 */
managerVersion: string, 
/**
 * When it was associated.
 */
associatedOn: EpochSeconds, 
/**
 * When the VM manager last answered.
 */
lastContactOn: EpochSeconds, 
/**
 * How fast all runs together may read by it; absent if as fast as it goes.
 */
bandwidthCap?: string, };

/**
 * Values of `ConnectorStatus`.
 */
export type ConnectorStatus = "HEALTHY" | "UNHEALTHY";

/**
 * Kind of a connector.
 */
export type ConnectorType = "QMP";

/**
 * Request of `CreateAlias`.
 */
export type CreateAliasRequest = { 
/**
 * The alias: `alias/…`.
 */
alias: string, 
/**
 * Which key gets it: its id, another alias, or the ARN of either.
 */
keyId: string, };

/**
 * Request of our own `CreateReplicationJob`: the seed service's members and more.
 */
export type CreateJobRequest = { 
/**
 * Which server.
 */
serverId: string, 
/**
 * When the first run starts; now if absent.
 */
seedReplicationTime?: EpochSeconds, 
/**
 * Hours between runs.
 */
frequency?: number, 
/**
 * Minutes between runs, instead of hours.
 */
intervalMinutes?: number, 
/**
 * One run only.
 */
runOnce?: boolean, 
/**
 * Whose licence; Godwit chooses if absent.
 */
licenseType?: LicenseWish, 
/**
 * Role.
 */
roleName?: string, 
/**
 * For people.
 */
description?: string, 
/**
 * How many of its newest images to keep; 0 is all.
 */
numberOfRecentAmisToKeep?: number, 
/**
 * Whether images are encrypted with a chosen key.
 */
encrypted?: boolean, 
/**
 * Which key.
 */
kmsKeyId?: string, 
/**
 * Who is told what became of it.
 */
recipients?: Array<string>, 
/**
 * Whether it is paused when scheduled runs fail in a row, instead of ending.
 */
pauseOnFailure?: boolean, 
/**
 * After how many.
 */
pauseAfterFailures?: number, 
/**
 * How fast each of its runs may read, in the language of caps.
 */
bandwidthCap?: string, };

/**
 * Answer of our own `CreateReplicationJob`.
 */
export type CreateJobResponse = { 
/**
 * The new job's id.
 */
replicationJobId: string, };

/**
 * Request of `CreateKey`.
 */
export type CreateKeyRequest = { 
/**
 * For people.
 */
description?: string, 
/**
 * What it is called: `alias/…`.
 */
alias?: string, };

/**
 * Answer of `CreateKey`.
 */
export type CreateKeyResponse = { 
/**
 * The new key.
 */
key: KeyDescription, };

/**
 * Request of `CreatePolicy`.
 */
export type CreatePolicyRequest = { 
/**
 * Its name.
 */
policyName: string, 
/**
 * Its JSON, as text.
 */
policyDocument: string, 
/**
 * For people.
 */
description?: string, };

/**
 * `CreateReplicationJobRequest`.
 */
export type CreateReplicationJobRequest = { 
/**
 * The ID of the server.
 */
serverId: string, 
/**
 * The seed replication time.
 */
seedReplicationTime: EpochSeconds, 
/**
 * The time between consecutive replication runs, in hours.
 */
frequency?: number, 
/**
 * Indicates whether to run the replication job one time.
 */
runOnce?: boolean, 
/**
 * The license type to be used for the AMI created by a successful replication run.
 */
licenseType?: LicenseType, 
/**
 * The name of the IAM role to be used by the Server Migration Service.
 */
roleName?: string, 
/**
 * The description of the replication job.
 */
description?: string, 
/**
 * The maximum number of SMS-created AMIs to retain.
 */
numberOfRecentAmisToKeep?: number, 
/**
 * Indicates whether the replication job produces encrypted AMIs.
 */
encrypted?: boolean, 
/**
 * The ID of the KMS key for replication jobs that produce encrypted AMIs.
 */
kmsKeyId?: string, };

/**
 * `CreateReplicationJobResponse`.
 */
export type CreateReplicationJobResponse = { 
/**
 * The unique identifier of the replication job.
 */
replicationJobId?: string, };

/**
 * Request of `CreateRole`.
 */
export type CreateRoleRequest = { 
/**
 * Its name.
 */
roleName: string, 
/**
 * Its JSON, as text.
 */
policyDocument: string, 
/**
 * For people.
 */
description?: string, };

/**
 * Answer of `CreateSignInLink`. What the link holds is told once: it is in no other answer.
 */
export type CreateSignInLinkResponse = { 
/**
 * Who signs in with it.
 */
userName: string, 
/**
 * What stands behind `#link=` in the console's address.
 */
token: string, 
/**
 * Until when it is good.
 */
expiresOn: EpochSeconds, };

/**
 * Request of `CreateUser`.
 */
export type CreateUserRequest = { 
/**
 * Its name.
 */
userName: string, 
/**
 * Its policies from the start.
 */
policyNames?: Array<string>, };

/**
 * A damaged range of a volume.
 */
export type DamagedRange = { 
/**
 * Which volume.
 */
volume: number, 
/**
 * First byte.
 */
offset: number, 
/**
 * Number of bytes.
 */
length: number, };

/**
 * A range of bytes.
 */
export type DataExtent = { 
/**
 * First byte.
 */
offset: number, 
/**
 * Number of bytes.
 */
length: number, };

/**
 * Request of `DeleteAlias`.
 */
export type DeleteAliasRequest = { 
/**
 * The alias: `alias/…`.
 */
alias: string, };

/**
 * `DeleteReplicationJobRequest`.
 */
export type DeleteReplicationJobRequest = { 
/**
 * The ID of the replication job.
 */
replicationJobId: string, };

/**
 * `DeleteReplicationJobResponse`.
 */
export type DeleteReplicationJobResponse = Record<symbol, never>;

/**
 * `DeleteServerCatalogRequest`.
 */
export type DeleteServerCatalogRequest = Record<symbol, never>;

/**
 * `DeleteServerCatalogResponse`.
 */
export type DeleteServerCatalogResponse = Record<symbol, never>;

/**
 * Request of `DescribeAccessKeys`.
 */
export type DescribeAccessKeysRequest = { 
/**
 * Only of this user.
 */
userName?: string, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeAccessKeys`.
 */
export type DescribeAccessKeysResponse = { 
/**
 * The keys, oldest first.
 */
accessKeys: Array<AccessKeyDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeAuditRecords`.
 */
export type DescribeAuditRecordsRequest = { 
/**
 * Not before this.
 */
since?: EpochSeconds, 
/**
 * Before this.
 */
until?: EpochSeconds, 
/**
 * A user's name or an access key's id.
 */
who?: string, 
/**
 * An action: `sms:GetServers`, or `GetServers` alone.
 */
what?: string, 
/**
 * `OK`, `UNKNOWN`, the code of an error, or `FAILED` for everything but `OK`.
 */
outcome?: string, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeAuditRecords`.
 */
export type DescribeAuditRecordsResponse = { 
/**
 * The records, newest first.
 */
records: Array<AuditRecordDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeConnectors`.
 */
export type DescribeConnectorsRequest = { 
/**
 * Only these.
 */
connectorIds?: Array<string>, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeConnectors`.
 */
export type DescribeConnectorsResponse = { 
/**
 * The connectors.
 */
connectors: Array<ConnectorDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeImages`.
 */
export type DescribeImagesRequest = { 
/**
 * Only these.
 */
imageIds?: Array<string>, 
/**
 * Only those of this job.
 */
replicationJobId?: string, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeImages`.
 */
export type DescribeImagesResponse = { 
/**
 * The images, newest first.
 */
images: Array<ImageDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeReplicationJobs`.
 */
export type DescribeJobsRequest = { 
/**
 * Only these.
 */
replicationJobIds?: Array<string>, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeReplicationJobs`.
 */
export type DescribeJobsResponse = { 
/**
 * The jobs, newest first.
 */
jobs: Array<JobDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeKeys`.
 */
export type DescribeKeysRequest = { 
/**
 * Only these: ids, aliases, or ARNs of either.
 */
keyIds?: Array<string>, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeKeys`.
 */
export type DescribeKeysResponse = { 
/**
 * The keys, oldest first.
 */
keys: Array<KeyDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeLimits`.
 */
export type DescribeLimitsRequest = Record<symbol, never>;

/**
 * Answer of `DescribeLimits`.
 */
export type DescribeLimitsResponse = { 
/**
 * How fast all runs together may read; absent if as fast as it goes.
 */
bandwidthCap?: string, 
/**
 * What that is at the moment, in bytes.
 */
bytesPerSecond?: number, 
/**
 * When it changes next.
 */
changesOn?: EpochSeconds, };

/**
 * Request of `DescribeNotifications`.
 */
export type DescribeNotificationsRequest = { 
/**
 * Only these.
 */
notificationIds?: Array<string>, 
/**
 * Only those of this job.
 */
replicationJobId?: string, 
/**
 * Only those in this state.
 */
state?: NotificationState, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeNotifications`.
 */
export type DescribeNotificationsResponse = { 
/**
 * The notifications, newest first.
 */
notifications: Array<NotificationDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribePolicies`.
 */
export type DescribePoliciesRequest = { 
/**
 * Only these.
 */
policyNames?: Array<string>, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribePolicies`.
 */
export type DescribePoliciesResponse = { 
/**
 * The policies, the built-in ones first.
 */
policies: Array<PolicyDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeReplicationRuns`.
 */
export type DescribeReplicationRunsRequest = { 
/**
 * Only these.
 */
replicationRunIds?: Array<string>, 
/**
 * Only those of this job.
 */
replicationJobId?: string, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeReplicationRuns`.
 */
export type DescribeReplicationRunsResponse = { 
/**
 * The runs, newest first.
 */
runs: Array<RunDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeRoles`.
 */
export type DescribeRolesRequest = { 
/**
 * Only these.
 */
roleNames?: Array<string>, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeRoles`.
 */
export type DescribeRolesResponse = { 
/**
 * The roles, oldest first.
 */
roles: Array<RoleDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeScrub`.
 */
export type DescribeScrubRequest = Record<symbol, never>;

/**
 * Request of `DescribeServers`.
 */
export type DescribeServersRequest = { 
/**
 * Only these.
 */
serverIds?: Array<string>, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeServers`.
 */
export type DescribeServersResponse = { 
/**
 * State of the catalog as a whole.
 */
serverCatalogStatus: ServerCatalogStatus, 
/**
 * When the catalog last changed.
 */
lastModifiedOn: EpochSeconds, 
/**
 * The import that is at work, or else the last one; absent if there was none since the service started or the
 * catalog was cleared.
 */
catalogImport?: CatalogImport, 
/**
 * The servers, those that vanished from their VM managers too.
 */
servers: Array<ServerDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeSettings`.
 */
export type DescribeSettingsRequest = Record<symbol, never>;

/**
 * Answer of `DescribeSettings`: the settings as they were read when the service started.
 */
export type DescribeSettingsResponse = { 
/**
 * The settings file.
 */
file: string, 
/**
 * Whether it was there.
 */
fileExists: boolean, 
/**
 * The settings, section by section.
 */
settings: Array<SettingDescription>, };

/**
 * Request of `DescribeSnapshots`.
 */
export type DescribeSnapshotsRequest = { 
/**
 * Only these.
 */
snapshotIds?: Array<string>, 
/**
 * Only those of this image.
 */
imageId?: string, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeSnapshots`.
 */
export type DescribeSnapshotsResponse = { 
/**
 * The snapshots, newest first.
 */
snapshots: Array<SnapshotDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeStore`.
 */
export type DescribeStoreRequest = Record<symbol, never>;

/**
 * Answer of `DescribeStore`.
 */
export type DescribeStoreResponse = { 
/**
 * What it holds, and what a sweep would free now.
 */
content: PreviewSweepResponse, 
/**
 * The last sweep, or the one at work.
 */
lastSweep?: SweepDescription, 
/**
 * When the next one is due.
 */
nextSweepOn?: EpochSeconds, };

/**
 * Request of `DescribeStoreUse`.
 */
export type DescribeStoreUseRequest = { 
/**
 * Not before this.
 */
from?: EpochSeconds, 
/**
 * Not behind this.
 */
to?: EpochSeconds, 
/**
 * How many at most; 500 unless something else is said.
 */
maxPoints?: number, };

/**
 * Answer of `DescribeStoreUse`.
 */
export type DescribeStoreUseResponse = { 
/**
 * What the store held, oldest first. If there is more than was wanted, evenly thinned; the first and the last
 * are always there.
 */
points: Array<StoreUsePoint>, 
/**
 * How many there are of that time in all.
 */
recorded: number, 
/**
 * Minutes between two of them at most; absent if none are recorded.
 */
everyMinutes?: number, 
/**
 * When the next one is due.
 */
nextOn?: EpochSeconds, };

/**
 * Request of `DescribeSweeps`.
 */
export type DescribeSweepsRequest = { 
/**
 * Only these.
 */
sweepIds?: Array<string>, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeSweeps`.
 */
export type DescribeSweepsResponse = { 
/**
 * The sweeps, newest first.
 */
sweeps: Array<SweepDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * Request of `DescribeUsers`.
 */
export type DescribeUsersRequest = { 
/**
 * Only these.
 */
userNames?: Array<string>, 
/**
 * Token of the page before.
 */
nextToken?: string, 
/**
 * How many at most.
 */
maxResults?: number, };

/**
 * Answer of `DescribeUsers`.
 */
export type DescribeUsersResponse = { 
/**
 * The users, oldest first.
 */
users: Array<UserDescription>, 
/**
 * Token of the next page; absent on the last.
 */
nextToken?: string, };

/**
 * `DisassociateConnectorRequest`.
 */
export type DisassociateConnectorRequest = { 
/**
 * The ID of the connector.
 */
connectorId: string, };

/**
 * `DisassociateConnectorResponse`.
 */
export type DisassociateConnectorResponse = Record<symbol, never>;

/**
 * Milliseconds since the epoch. On the wire seconds: a whole number where possible, otherwise with a fraction.
 */
export type EpochSeconds = number;

/**
 * Why something failed, and what to do.
 */
export type FailureDescription = { 
/**
 * Stable code.
 */
code: string, 
/**
 * What such a code means, in a sentence.
 */
cause: string, 
/**
 * What was seen.
 */
evidence: string, 
/**
 * What to do.
 */
nextStep: string, };

/**
 * What a run is expected to move and take.
 */
export type ForecastDescription = { 
/**
 * `FIRST_COPY` or `CHANGES`.
 */
looksAt: string, 
/**
 * When it is due.
 */
dueOn?: EpochSeconds, 
/**
 * Seconds in which the changes are made that it reads.
 */
secondsOfChanges?: number, 
/**
 * Bytes asked from the source. Absent if no run has shown it yet; so are the next two.
 */
bytesRead?: ByteRange, 
/**
 * Bytes added to the store.
 */
bytesStored?: ByteRange, 
/**
 * From start to end.
 */
seconds?: SecondRange, 
/**
 * What that was told from, in words.
 */
basis: string, 
/**
 * How far off it was: of runs that have completed.
 */
error?: ForecastErrorDescription, };

/**
 * What was, divided by what was likely: 1 is as forecast. Absent if there was no forecast, or one of nothing.
 */
export type ForecastErrorDescription = { 
/**
 * Of bytes read.
 */
bytesRead?: number, 
/**
 * Of bytes stored.
 */
bytesStored?: number, 
/**
 * Of the time.
 */
seconds?: number, };

/**
 * `GetConnectorsRequest`.
 */
export type GetConnectorsRequest = { 
/**
 * The token for the next set of results.
 */
nextToken?: string, 
/**
 * The maximum number of results to return in a single call.
 */
maxResults?: number, };

/**
 * `GetConnectorsResponse`.
 */
export type GetConnectorsResponse = { 
/**
 * Information about the registered connectors.
 */
connectorList?: Array<Connector>, 
/**
 * The token required to retrieve the next set of results.
 */
nextToken?: string, };

/**
 * Request of `GetForecast`.
 */
export type GetForecastRequest = { 
/**
 * Which job.
 */
replicationJobId: string, };

/**
 * Answer of `GetForecast`. A job that makes no more runs has nothing of it.
 */
export type GetForecastResponse = { 
/**
 * Which job.
 */
replicationJobId: string, 
/**
 * When that was told.
 */
madeOn: EpochSeconds, 
/**
 * Of the first copy, until there is one.
 */
firstCopy?: ForecastDescription, 
/**
 * Of the run that is due next behind it.
 */
nextRun?: ForecastDescription, 
/**
 * Of a last run, if the server were stopped now: its time is how long the server is away.
 */
cutOver?: ForecastDescription, };

/**
 * `GetReplicationJobsRequest`.
 */
export type GetReplicationJobsRequest = { 
/**
 * The ID of the replication job.
 */
replicationJobId?: string, 
/**
 * The token for the next set of results.
 */
nextToken?: string, 
/**
 * The maximum number of results to return in a single call.
 */
maxResults?: number, };

/**
 * `GetReplicationJobsResponse`.
 */
export type GetReplicationJobsResponse = { 
/**
 * Information about the replication jobs.
 */
replicationJobList?: Array<ReplicationJob>, 
/**
 * The token required to retrieve the next set of results.
 */
nextToken?: string, };

/**
 * `GetReplicationRunsRequest`.
 */
export type GetReplicationRunsRequest = { 
/**
 * The ID of the replication job.
 */
replicationJobId: string, 
/**
 * The token for the next set of results.
 */
nextToken?: string, 
/**
 * The maximum number of results to return in a single call.
 */
maxResults?: number, };

/**
 * `GetReplicationRunsResponse`.
 */
export type GetReplicationRunsResponse = { 
/**
 * Information about the replication job.
 */
replicationJob?: ReplicationJob, 
/**
 * Information about the replication runs.
 */
replicationRunList?: Array<ReplicationRun>, 
/**
 * The token required to retrieve the next set of results.
 */
nextToken?: string, };

/**
 * `GetServersRequest`.
 */
export type GetServersRequest = { 
/**
 * The token for the next set of results.
 */
nextToken?: string, 
/**
 * The maximum number of results to return in a single call.
 */
maxResults?: number, 
/**
 * The server addresses.
 */
vmServerAddressList?: Array<VmServerAddress>, };

/**
 * `GetServersResponse`.
 */
export type GetServersResponse = { 
/**
 * The time when the server was last modified.
 */
lastModifiedOn?: EpochSeconds, 
/**
 * The status of the server catalog.
 */
serverCatalogStatus?: ServerCatalogStatus, 
/**
 * Information about the servers.
 */
serverList?: Array<Server>, 
/**
 * The token required to retrieve the next set of results.
 */
nextToken?: string, };

/**
 * An image.
 */
export type ImageDescription = { 
/**
 * Its id.
 */
imageId: string, 
/**
 * Which job and run made it, in the seed service's words.
 */
description: string, 
/**
 * The job that made it.
 */
replicationJobId: string, 
/**
 * The run that made it.
 */
replicationRunId: string, 
/**
 * Of which server.
 */
serverId: string, 
/**
 * The server's name then.
 */
serverName: string, 
/**
 * When it was registered.
 */
createdOn: EpochSeconds, 
/**
 * Sum of its volumes' sizes.
 */
sizeBytes: number, 
/**
 * What it is encrypted with.
 */
keyId?: string, 
/**
 * The latest version of the key that a part of what its run stored is under.
 */
keyVersion?: number, 
/**
 * Its volumes, boot disk first.
 */
volumes: Array<ImageVolumeDescription>, 
/**
 * What is known of its being undamaged.
 */
verification: Verification, };

/**
 * Request of `StartImageVerification` and of `DeleteImage`.
 */
export type ImageRequest = { 
/**
 * Which image.
 */
imageId: string, };

/**
 * A volume of an image.
 */
export type ImageVolumeDescription = { 
/**
 * Its place in the image, from 0.
 */
volume: number, 
/**
 * The device's name within the server.
 */
device: string, 
/**
 * Size in bytes.
 */
size: number, 
/**
 * Its snapshot.
 */
snapshotId: string, 
/**
 * Digest over the whole volume.
 */
rootDigest: string, };

/**
 * `ImportServerCatalogRequest`.
 */
export type ImportServerCatalogRequest = Record<symbol, never>;

/**
 * `ImportServerCatalogResponse`.
 */
export type ImportServerCatalogResponse = Record<symbol, never>;

/**
 * A job.
 */
export type JobDescription = { 
/**
 * Its id.
 */
replicationJobId: string, 
/**
 * Its server.
 */
serverId: string, 
/**
 * The server's name.
 */
serverName: string, 
/**
 * State.
 */
state: ReplicationJobState, 
/**
 * Since when it is in that state.
 */
stateSince: EpochSeconds, 
/**
 * The state in words, with the last run's failure if that failed.
 */
statusMessage?: string, 
/**
 * When its first run was to start.
 */
seedReplicationTime: EpochSeconds, 
/**
 * Minutes between runs; absent for one-time jobs.
 */
intervalMinutes?: number, 
/**
 * One run only.
 */
runOnce: boolean, 
/**
 * When the next run starts, if one is scheduled.
 */
nextReplicationRunStartTime?: EpochSeconds, 
/**
 * Whose licence; absent while that is not decided.
 */
licenseType?: LicenseType, 
/**
 * Whether Godwit chose it.
 */
licenseChosen: boolean, 
/**
 * Role.
 */
roleName: string, 
/**
 * For people.
 */
description?: string, 
/**
 * How many of its newest images to keep; absent or 0 is all.
 */
numberOfRecentAmisToKeep?: number, 
/**
 * Whether images are encrypted with a chosen key.
 */
encrypted?: boolean, 
/**
 * Which key.
 */
kmsKeyId?: string, 
/**
 * Who is told what became of it.
 */
recipients: Array<string>, 
/**
 * Whether it is paused when scheduled runs fail in a row, instead of ending.
 */
pauseOnFailure: boolean, 
/**
 * After how many.
 */
pauseAfterFailures: number, 
/**
 * Scheduled runs that have failed in a row.
 */
failures: number, 
/**
 * How fast each of its runs may read; absent if as fast as it goes.
 */
bandwidthCap?: string, 
/**
 * Its newest image.
 */
latestImageId?: string, 
/**
 * When it was created.
 */
createdOn: EpochSeconds, 
/**
 * The run at work; else the one that ended last; else the one scheduled.
 */
latestRun?: RunDescription, };

/**
 * A key.
 */
export type KeyDescription = { 
/**
 * Its id.
 */
keyId: string, 
/**
 * Its id as an ARN.
 */
arn: string, 
/**
 * What it is called, sorted.
 */
aliases: Array<string>, 
/**
 * For people.
 */
description?: string, 
/**
 * Whether it may be used.
 */
state: KeyState, 
/**
 * Since when it is in that state.
 */
stateSince: EpochSeconds, 
/**
 * Whether it is the one of jobs that name none.
 */
default: boolean, 
/**
 * Its newest version.
 */
version: number, 
/**
 * When that was made, if it is not the first.
 */
rotatedOn?: EpochSeconds, 
/**
 * When it was created.
 */
createdOn: EpochSeconds, };

/**
 * Request of `RotateKey`, `EnableKey`, `DisableKey` and `SetDefaultKey`.
 */
export type KeyRequest = { 
/**
 * Which key: its id, an alias, or the ARN of either.
 */
keyId: string, };

/**
 * Whether a key may be used.
 */
export type KeyState = "ENABLED" | "DISABLED";

/**
 * Values of `LicenseType`.
 */
export type LicenseType = "AWS" | "BYOL";

/**
 * Whose licence a job is to have.
 */
export type LicenseWish = "AWS" | "BYOL" | "AUTO";

/**
 * Request of `ListImageChanges`.
 */
export type ListImageChangesRequest = { 
/**
 * Which image.
 */
imageId: string, 
/**
 * Which volume of it, from 0.
 */
volume: number, 
/**
 * The image that it is compared with, by the volume of the same device; of the same key.
 */
baseImageId: string, 
/**
 * From which byte on.
 */
from?: number, 
/**
 * How many extents at most.
 */
maxResults?: number, };

/**
 * Answer of `ListImageChanges`.
 */
export type ListImageChangesResponse = { 
/**
 * Size of the larger one of the two volumes.
 */
size: number, 
/**
 * Where the contents differ, in whole blocks, sorted. What is behind the end of a volume counts as zeros.
 */
changes: Array<DataExtent>, 
/**
 * From which byte to go on; absent at the end of the volumes.
 */
next?: number, };

/**
 * Request of `ListImageExtents`.
 */
export type ListImageExtentsRequest = { 
/**
 * Which image.
 */
imageId: string, 
/**
 * Which volume, from 0.
 */
volume: number, 
/**
 * From which byte on.
 */
from?: number, 
/**
 * How many extents at most.
 */
maxResults?: number, };

/**
 * Answer of `ListImageExtents`.
 */
export type ListImageExtentsResponse = { 
/**
 * Size of the volume.
 */
size: number, 
/**
 * Where it holds data, sorted; what lies between is zeros.
 */
extents: Array<DataExtent>, 
/**
 * From which byte to go on; absent at the end of the volume.
 */
next?: number, };

/**
 * Answer of `CreateAccessKey` and `RotateAccessKey`. The secret is told once: it is in no other answer.
 */
export type NewAccessKeyResponse = { 
/**
 * Its id.
 */
accessKeyId: string, 
/**
 * Its secret.
 */
secretAccessKey: string, 
/**
 * Whose it is.
 */
userName: string, 
/**
 * When the key that it replaces ends.
 */
oldKeyEndsOn?: EpochSeconds, };

/**
 * Answer of the operations that have nothing to say.
 */
export type NoAnswer = Record<symbol, never>;

/**
 * An event on its way to one recipient.
 */
export type NotificationDescription = { 
/**
 * Its id.
 */
notificationId: string, 
/**
 * The id that receivers see, the same for all recipients and at every attempt.
 */
eventId: string, 
/**
 * What happened: `RUN_FAILED`, `JOB_COMPLETED` …
 */
event: string, 
/**
 * When it happened.
 */
happenedOn: EpochSeconds, 
/**
 * To which job.
 */
replicationJobId: string, 
/**
 * In which run.
 */
replicationRunId?: string, 
/**
 * The job's server.
 */
serverId: string, 
/**
 * What people call it.
 */
serverName: string, 
/**
 * Who is told.
 */
recipient: string, 
/**
 * How far it is.
 */
state: NotificationState, 
/**
 * Attempts so far.
 */
attempts: number, 
/**
 * When it is tried next.
 */
nextAttemptOn?: EpochSeconds, 
/**
 * When the receiver took it.
 */
deliveredOn?: EpochSeconds, 
/**
 * Why the last attempt failed.
 */
failure?: NotificationFailure, 
/**
 * What it says, in a line.
 */
subject: string, 
/**
 * What it says to people.
 */
text: string, };

/**
 * Why a notification did not arrive.
 */
export type NotificationFailure = { 
/**
 * Stable code.
 */
code: string, 
/**
 * What was seen.
 */
evidence: string, 
/**
 * What to do.
 */
nextStep: string, };

/**
 * How far a notification is.
 */
export type NotificationState = "PENDING" | "DELIVERED" | "GIVEN_UP";

/**
 * Some packs.
 */
export type PackCount = { 
/**
 * How many.
 */
packs: number, 
/**
 * Their bytes.
 */
bytes: number, 
/**
 * When the oldest was made, if that is known.
 */
oldest?: EpochSeconds, };

/**
 * A policy.
 */
export type PolicyDescription = { 
/**
 * Its name.
 */
policyName: string, 
/**
 * Whether it is always there and cannot be changed.
 */
builtIn: boolean, 
/**
 * Its JSON, as text.
 */
policyDocument: string, 
/**
 * For people.
 */
description?: string, 
/**
 * When it was created; absent if it is built in.
 */
createdOn?: EpochSeconds, 
/**
 * When it was last changed; absent if it is built in.
 */
changedOn?: EpochSeconds, };

/**
 * Request of `AttachPolicy` and `DetachPolicy`.
 */
export type PolicyOfUserRequest = { 
/**
 * Which user.
 */
userName: string, 
/**
 * Which policy.
 */
policyName: string, };

/**
 * Request of `DeletePolicy`.
 */
export type PolicyRequest = { 
/**
 * Which policy.
 */
policyName: string, };

/**
 * Request of `PreviewSweep`.
 */
export type PreviewSweepRequest = Record<symbol, never>;

/**
 * Answer of `PreviewSweep`: what the store holds, what a sweep would free. Each pack counts once.
 */
export type PreviewSweepResponse = { 
/**
 * All packs.
 */
all: PackCount, 
/**
 * Packs that snapshots need.
 */
named: PackCount, 
/**
 * Bytes of them that nothing needs any more.
 */
deadBytes: number, 
/**
 * Packs that runs are sending or can be resumed from.
 */
staged: PackCount, 
/**
 * How long those of failed runs are kept.
 */
stagingHours: number, 
/**
 * Of the staged ones those that are older: they go.
 */
expiredStaged: PackCount, 
/**
 * Packs that nobody knows and that are not old enough to go.
 */
waiting: PackCount, 
/**
 * When the first of them goes.
 */
waitingUntil?: EpochSeconds, 
/**
 * Packs of deleted snapshots: they go.
 */
released: PackCount, 
/**
 * Packs that nobody knows and that are old: they go.
 */
expired: PackCount, 
/**
 * Packs that stay because a snapshot cannot be read.
 */
doubtful: PackCount, 
/**
 * Packs of which so much is dead that repacking them is worth it. The bytes are what that frees.
 */
repackable: PackCount, 
/**
 * How many of them one sweep repacks.
 */
repackPacks: number, 
/**
 * What that frees.
 */
repackFrees: number, 
/**
 * Snapshots that nobody knows: they go.
 */
straySnapshots: number, 
/**
 * Bytes that a sweep would free in all.
 */
bytesToFree: number, 
/**
 * Snapshots that cannot be read.
 */
unreadable: Array<UnreadableSnapshot>, };

/**
 * Request of `ReadImage`. The answer is the bytes themselves.
 */
export type ReadImageRequest = { 
/**
 * Which image.
 */
imageId: string, 
/**
 * Which volume, from 0.
 */
volume: number, 
/**
 * First byte.
 */
offset: number, 
/**
 * How many bytes, at most two mebibytes.
 */
length: number, };

/**
 * Request of `RedeliverNotification`.
 */
export type RedeliverNotificationRequest = { 
/**
 * Which.
 */
notificationId: string, };

/**
 * Represents a replication job.
 */
export type ReplicationJob = { 
/**
 * The ID of the replication job.
 */
replicationJobId?: string, 
/**
 * The ID of the server.
 */
serverId?: string, 
/**
 * The type of server.
 */
serverType?: ServerType, 
/**
 * Information about the VM server.
 */
vmServer?: VmServer, 
/**
 * The seed replication time.
 */
seedReplicationTime?: EpochSeconds, 
/**
 * The time between consecutive replication runs, in hours.
 */
frequency?: number, 
/**
 * Indicates whether to run the replication job one time.
 */
runOnce?: boolean, 
/**
 * The start time of the next replication run.
 */
nextReplicationRunStartTime?: EpochSeconds, 
/**
 * The license type to be used for the AMI created by a successful replication run.
 */
licenseType?: LicenseType, 
/**
 * The name of the IAM role to be used by Server Migration Service.
 */
roleName?: string, 
/**
 * The ID of the latest Amazon Machine Image (AMI).
 */
latestAmiId?: string, 
/**
 * The state of the replication job.
 */
state?: ReplicationJobState, 
/**
 * The description of the current status of the replication job.
 */
statusMessage?: string, 
/**
 * The description of the replication job.
 */
description?: string, 
/**
 * The number of recent AMIs to keep in the customer's account for a replication job.
 */
numberOfRecentAmisToKeep?: number, 
/**
 * Indicates whether the replication job should produce encrypted AMIs.
 */
encrypted?: boolean, 
/**
 * The ID of the KMS key for replication jobs that produce encrypted AMIs.
 */
kmsKeyId?: string, 
/**
 * Information about the replication runs.
 */
replicationRunList?: Array<ReplicationRun>, };

/**
 * Values of `ReplicationJobState`.
 */
export type ReplicationJobState = "PENDING" | "ACTIVE" | "FAILED" | "DELETING" | "DELETED" | "COMPLETED" | "PAUSED_ON_FAILURE" | "FAILING";

/**
 * Represents a replication run.
 */
export type ReplicationRun = { 
/**
 * The ID of the replication run.
 */
replicationRunId?: string, 
/**
 * The state of the replication run.
 */
state?: ReplicationRunState, 
/**
 * The type of replication run.
 */
type?: ReplicationRunType, 
/**
 * Details about the current stage of the replication run.
 */
stageDetails?: ReplicationRunStageDetails, 
/**
 * The description of the current status of the replication job.
 */
statusMessage?: string, 
/**
 * The ID of the Amazon Machine Image (AMI) from the replication run.
 */
amiId?: string, 
/**
 * The start time of the next replication run.
 */
scheduledStartTime?: EpochSeconds, 
/**
 * The completion time of the last replication run.
 */
completedTime?: EpochSeconds, 
/**
 * The description of the replication run.
 */
description?: string, 
/**
 * Indicates whether the replication run should produce an encrypted AMI.
 */
encrypted?: boolean, 
/**
 * The ID of the KMS key for replication jobs that produce encrypted AMIs.
 */
kmsKeyId?: string, };

/**
 * Details of the current stage of a replication run.
 */
export type ReplicationRunStageDetails = { 
/**
 * The current stage of a replication run.
 */
stage?: string, 
/**
 * The progress of the current stage of a replication run.
 */
stageProgress?: string, };

/**
 * Values of `ReplicationRunState`.
 */
export type ReplicationRunState = "PENDING" | "MISSED" | "ACTIVE" | "FAILED" | "COMPLETED" | "DELETING" | "DELETED";

/**
 * Values of `ReplicationRunType`.
 */
export type ReplicationRunType = "ON_DEMAND" | "AUTOMATIC";

/**
 * Request of `ResumeReplicationJob`.
 */
export type ResumeJobRequest = { 
/**
 * Which job.
 */
replicationJobId: string, 
/**
 * When the next run starts; if absent, at the next point of the schedule.
 */
nextReplicationRunStartTime?: EpochSeconds, };

/**
 * A role.
 */
export type RoleDescription = { 
/**
 * Its name.
 */
roleName: string, 
/**
 * Its JSON, as text.
 */
policyDocument: string, 
/**
 * For people.
 */
description?: string, 
/**
 * When it was created.
 */
createdOn: EpochSeconds, 
/**
 * When it was last changed.
 */
changedOn: EpochSeconds, };

/**
 * Request of `DeleteRole`.
 */
export type RoleRequest = { 
/**
 * Which role.
 */
roleName: string, };

/**
 * Request of `RotateAccessKey`.
 */
export type RotateAccessKeyRequest = { 
/**
 * Which key is replaced.
 */
accessKeyId: string, 
/**
 * How many minutes it goes on; 0 ends it at once. If absent, the configured time: a day.
 */
graceMinutes?: number, };

/**
 * Answer of `RotateKey`.
 */
export type RotateKeyResponse = { 
/**
 * The new version.
 */
version: number, };

/**
 * A run with its figures.
 */
export type RunDescription = { 
/**
 * Its id.
 */
replicationRunId: string, 
/**
 * Its job.
 */
replicationJobId: string, 
/**
 * State.
 */
state: ReplicationRunState, 
/**
 * What started it.
 */
type: ReplicationRunType, 
/**
 * For people.
 */
description?: string, 
/**
 * The stage at work, or the one that a failed run ended in.
 */
stage?: string, 
/**
 * When that stage began.
 */
stageStartedOn?: EpochSeconds, 
/**
 * How far the stage has come, 0 to 100.
 */
percent: number, 
/**
 * Pace over the last seconds.
 */
bytesPerSecond?: number, 
/**
 * How long the stage still takes at that pace.
 */
secondsLeft?: number, 
/**
 * When it is or was due.
 */
scheduledStartTime: EpochSeconds, 
/**
 * When it began.
 */
startedOn?: EpochSeconds, 
/**
 * When it ended.
 */
completedTime?: EpochSeconds, 
/**
 * The image it made.
 */
imageId?: string, 
/**
 * `CRASH` or `FILE_SYSTEM`.
 */
consistency?: string, 
/**
 * When the point in time was taken.
 */
pointInTime?: EpochSeconds, 
/**
 * The key that it encrypts with, once chosen.
 */
keyId?: string, 
/**
 * The latest version of the key that a part of what it stored is under.
 */
keyVersion?: number, 
/**
 * What the operator should know.
 */
notes: Array<string>, 
/**
 * The failure that is being waited out before the stage is tried again.
 */
retryingAfter?: string, 
/**
 * Why it failed.
 */
failure?: FailureDescription, 
/**
 * How fast it may read: its own cap, or else its job's; absent if as fast as it goes.
 */
bandwidthCap?: string, 
/**
 * What holds its reads back at the moment: `RUN_CAP`, `CONNECTOR_CAP`, `TOTAL_CAP` or `SLOW_SOURCE`.
 */
heldBackBy?: string, 
/**
 * What was forecast of it when it began, and how far off that was.
 */
forecast?: ForecastDescription, 
/**
 * Its volumes, boot disk first.
 */
volumes: Array<RunVolumeDescription>, };

/**
 * A volume in a run.
 */
export type RunVolumeDescription = { 
/**
 * Stable name within the server.
 */
device: string, 
/**
 * Its snapshot, once committed.
 */
snapshotId?: string, 
/**
 * Virtual size.
 */
bytesTotal: number, 
/**
 * How far the walk over the volume has come.
 */
bytesDone: number, 
/**
 * Bytes asked from the source.
 */
bytesRead: number, 
/**
 * Bytes handed to the store.
 */
bytesSent: number, 
/**
 * Bytes of those that are durable and belong to the snapshot.
 */
bytesStored: number, 
/**
 * Bytes that had been on their way before and were sent again.
 */
bytesResent: number, 
/**
 * Bytes re-read and compared.
 */
bytesVerified: number, 
/**
 * Digest over the whole volume, once committed.
 */
rootDigest?: string, 
/**
 * The run's: all volumes show the same moment.
 */
consistency?: string, 
/**
 * Whether only tracked changes were read.
 */
tracked: boolean, 
/**
 * What the operator should know.
 */
notes: Array<string>, };

/**
 * How far the scrub is, and what it found.
 */
export type ScrubDescription = { 
/**
 * The round that is open, or the last one; 0 before the first.
 */
round: number, 
/**
 * Whether it is open.
 */
open: boolean, 
/**
 * Whether somebody asked for it: then it goes on without pause.
 */
onDemand: boolean, 
/**
 * When it began.
 */
beganOn?: EpochSeconds, 
/**
 * When the last whole round ended.
 */
endedOn?: EpochSeconds, 
/**
 * When the next part is due.
 */
nextOn?: EpochSeconds, 
/**
 * Packs that were checked in the round.
 */
packsChecked: number, 
/**
 * Their bytes.
 */
bytesChecked: number, 
/**
 * Bytes of all packs.
 */
bytesTotal: number, 
/**
 * Packs of the round that could not be looked at, because their key is disabled or lost.
 */
packsSkipped: number, 
/**
 * Packs in the store that are damaged. Images that need them are DAMAGED.
 */
damagedPacks: number, 
/**
 * What is wrong with one of them.
 */
problem?: string, 
/**
 * Why it does not go on at the moment.
 */
message?: string, };

/**
 * Seconds with their bounds.
 */
export type SecondRange = { 
/**
 * It will hardly be less.
 */
low: number, 
/**
 * As often more as less.
 */
likely: number, 
/**
 * It will hardly be more.
 */
high: number, };

/**
 * Request of `SendTestNotification`.
 */
export type SendTestNotificationRequest = { 
/**
 * An e-mail address, or a web address.
 */
recipient: string, };

/**
 * Answer of `SendTestNotification`.
 */
export type SendTestNotificationResponse = { 
/**
 * Whether the receiver took it.
 */
delivered: boolean, 
/**
 * Why not.
 */
failure?: NotificationFailure, };

/**
 * Represents a server.
 */
export type Server = { 
/**
 * The ID of the server.
 */
serverId?: string, 
/**
 * The type of server.
 */
serverType?: ServerType, 
/**
 * Information about the VM server.
 */
vmServer?: VmServer, 
/**
 * The ID of the replication job.
 */
replicationJobId?: string, 
/**
 * Indicates whether the replication job is deleted or failed.
 */
replicationJobTerminated?: boolean, };

/**
 * Values of `ServerCatalogStatus`.
 */
export type ServerCatalogStatus = "NOT_IMPORTED" | "IMPORTING" | "AVAILABLE" | "DELETED" | "EXPIRED";

/**
 * A server.
 */
export type ServerDescription = { 
/**
 * Its id; the same after every import.
 */
serverId: string, 
/**
 * The name that people know.
 */
name: string, 
/**
 * Where it is in the VM manager, as a path.
 */
path: string, 
/**
 * Stable id of the VM manager.
 */
managerId: string, 
/**
 * What people call the VM manager.
 */
managerName: string, 
/**
 * The VM manager's name of it.
 */
vmId: string, 
/**
 * `LINUX`, `WINDOWS_SERVER` or `WINDOWS_CLIENT`, if it is known.
 */
platform?: string, 
/**
 * When an import first missed it; absent while it is there.
 */
missingSince?: EpochSeconds, 
/**
 * Its disks, boot disk first.
 */
volumes: Array<ServerVolume>, 
/**
 * Its present job, or else its last one.
 */
replicationJobId?: string, 
/**
 * Whether that has ended by deletion or failure.
 */
replicationJobTerminated?: boolean, };

/**
 * Values of `ServerType`.
 */
export type ServerType = "VIRTUAL_MACHINE";

/**
 * A disk of a server.
 */
export type ServerVolume = { 
/**
 * Stable name within the server.
 */
device: string, 
/**
 * Size in bytes.
 */
size: number, };

/**
 * Answer of `POST /session` and `GET /session`.
 */
export type SessionDescription = { 
/**
 * Whose session it is.
 */
userName: string, 
/**
 * Names of the user's policies.
 */
policyNames: Array<string>, 
/**
 * What the user may do, in the names of policies.
 */
actions: Array<string>, 
/**
 * With what the session was begun.
 */
signedInWith: SignedInWith, 
/**
 * Whether the user has a password.
 */
hasPassword: boolean, 
/**
 * The service's time.
 */
serverTime: EpochSeconds, 
/**
 * When the session was begun.
 */
createdAt: EpochSeconds, 
/**
 * When it ends if nothing is asked for meanwhile.
 */
expiresAt: EpochSeconds, 
/**
 * When it ends in any case.
 */
endsAt: EpochSeconds, 
/**
 * The program's version.
 */
version: string, };

/**
 * Where a setting was set.
 */
export type SetIn = "DEFAULT" | "FILE" | "COMMAND_LINE" | "ENVIRONMENT";

/**
 * Request of `SetPassword`.
 */
export type SetPasswordRequest = { 
/**
 * Whose.
 */
userName: string, 
/**
 * The password from now on.
 */
password: string, };

/**
 * A setting. Never a secret, nor where one is kept.
 */
export type SettingDescription = { 
/**
 * Section and name as in the settings file, or an option of the command line.
 */
name: string, 
/**
 * What counts, as it would be written; absent if nothing is set, or if it is hidden.
 */
value?: string, 
/**
 * What counts if nothing is set.
 */
default?: string, 
/**
 * Whether that counts.
 */
isDefault: boolean, 
/**
 * It differs from the default, and how is not told: it says where a secret is kept, or whose it is.
 */
isHidden: boolean, 
/**
 * Where it was set.
 */
setIn: SetIn, 
/**
 * What it is, in a sentence.
 */
description: string, };

/**
 * Body of `POST /session`: who signs in, and with what. Holds secrets, so it has no `Debug`.
 */
export type SignInRequest = { 
/**
 * Name of the user.
 */
userName: string, 
/**
 * The user's password.
 */
password: string, } | { 
/**
 * Id of the key.
 */
accessKeyId: string, 
/**
 * Its secret.
 */
secretAccessKey: string, } | { 
/**
 * What the link holds.
 */
link: string, };

/**
 * With what a session was begun.
 */
export type SignedInWith = "password" | "accessKey" | "link";

/**
 * A snapshot.
 */
export type SnapshotDescription = { 
/**
 * Its id.
 */
snapshotId: string, 
/**
 * The image it belongs to; absent once that is deleted.
 */
imageId?: string, 
/**
 * The run that made it.
 */
replicationRunId: string, 
/**
 * Of which server.
 */
serverId: string, 
/**
 * Of which device.
 */
device: string, 
/**
 * Size in bytes.
 */
size: number, 
/**
 * Digest over the whole volume.
 */
rootDigest: string, 
/**
 * The snapshot it was made against.
 */
parentSnapshotId?: string, 
/**
 * When it was committed.
 */
createdOn: EpochSeconds, 
/**
 * Bytes that it added to the store.
 */
bytesStored: number, 
/**
 * What it is encrypted with.
 */
keyId?: string, };

/**
 * `StartOnDemandReplicationRunRequest`.
 */
export type StartOnDemandReplicationRunRequest = { 
/**
 * The ID of the replication job.
 */
replicationJobId: string, 
/**
 * The description of the replication run.
 */
description?: string, };

/**
 * `StartOnDemandReplicationRunResponse`.
 */
export type StartOnDemandReplicationRunResponse = { 
/**
 * The ID of the replication run.
 */
replicationRunId?: string, };

/**
 * Request of `StartScrub`.
 */
export type StartScrubRequest = Record<symbol, never>;

/**
 * Answer of `StartScrub`.
 */
export type StartScrubResponse = { 
/**
 * The round that reads the whole store: the one that is at work, if somebody asked for it already.
 */
round: number, };

/**
 * Request of `StartSweep`.
 */
export type StartSweepRequest = Record<symbol, never>;

/**
 * Answer of `StartSweep`.
 */
export type StartSweepResponse = { 
/**
 * The sweep: the one that is at work, if there is one.
 */
sweepId: string, };

/**
 * What the store held at a moment. The four parts do not overlap: together they are its bytes.
 */
export type StoreUsePoint = { 
/**
 * When.
 */
at: EpochSeconds, 
/**
 * Packs.
 */
packs: number, 
/**
 * Their bytes.
 */
bytes: number, 
/**
 * Of these, what snapshots need.
 */
liveBytes: number, 
/**
 * What nothing needs between that.
 */
deadBytes: number, 
/**
 * What no snapshot names and what stays for now.
 */
stagedBytes: number, 
/**
 * What the next sweep removes, without repacking.
 */
toFreeBytes: number, };

/**
 * Data of an event of `GET /events`. Its name is one of `hello`, `change`, `heartbeat`, `signed-out`.
 */
export type StreamEvent = { 
/**
 * How many changes there were since the process began; absent of `signed-out`.
 */
revision?: number, 
/**
 * The service's time.
 */
serverTime: EpochSeconds, 
/**
 * What has changed; of `hello` and `change`.
 */
changed?: Array<ChangeKind>, 
/**
 * The program's version; of `hello`.
 */
version?: string, };

/**
 * A sweep.
 */
export type SweepDescription = { 
/**
 * Its id.
 */
sweepId: string, 
/**
 * Whether somebody asked for it.
 */
onDemand: boolean, 
/**
 * State.
 */
state: SweepState, 
/**
 * When it began.
 */
startedOn: EpochSeconds, 
/**
 * When it ended.
 */
endedOn?: EpochSeconds, 
/**
 * Packs deleted.
 */
packsFreed: number, 
/**
 * Their bytes.
 */
bytesFreed: number, 
/**
 * Bytes moved by repacking.
 */
bytesMoved: number, 
/**
 * What could not be deleted or moved; the next sweep tries again.
 */
left: number, 
/**
 * What went wrong.
 */
message?: string, 
/**
 * How far it has come, while it is at work.
 */
progress?: SweepProgress, };

/**
 * How far a sweep has come.
 */
export type SweepProgress = { 
/**
 * Snapshots whose pages were read.
 */
snapshotsRead: number, 
/**
 * Snapshots there are; 0 once they are all read.
 */
snapshots: number, 
/**
 * Packs to delete.
 */
packsToFree: number, 
/**
 * Packs deleted.
 */
packsFreed: number, 
/**
 * Their bytes.
 */
bytesFreed: number, 
/**
 * Bytes moved by repacking.
 */
bytesMoved: number, };

/**
 * State of a sweep.
 */
export type SweepState = "RUNNING" | "COMPLETED" | "FAILED";

/**
 * Request of `TestConnector`.
 */
export type TestConnectorRequest = { 
/**
 * Kind.
 */
type: ConnectorType, 
/**
 * Absolute path of a QMP socket, or of a folder of them, where the service runs.
 */
socket: string, };

/**
 * Answer of `TestConnector`: what would be associated.
 */
export type TestConnectorResponse = { 
/**
 * Stable id of the VM manager.
 */
managerId: string, 
/**
 * What people call the VM manager.
 */
managerName: string, 
/**
 * The VM manager's version; empty if nothing answered that could tell.
 */
managerVersion: string, 
/**
 * Servers found.
 */
servers: number, 
/**
 * Names of the first of them.
 */
serverNames: Array<string>, 
/**
 * What was seen and cannot be used, one sentence each.
 */
warnings: Array<string>, 
/**
 * The connector that the VM manager is associated as already.
 */
connectorId?: string, 
/**
 * What people call that one.
 */
connectorName?: string, };

/**
 * A snapshot that cannot be read.
 */
export type UnreadableSnapshot = { 
/**
 * Which.
 */
snapshotId: string, 
/**
 * Why.
 */
message: string, };

/**
 * Request of `UpdateConnector`: what is absent stays as it is.
 */
export type UpdateConnectorRequest = { 
/**
 * Which.
 */
connectorId: string, 
/**
 * What people call it.
 */
name?: string, 
/**
 * Absolute path of its socket or folder of sockets; it must lead to the same VM manager.
 */
socket?: string, 
/**
 * How fast all runs together may read by it, in the language of caps.
 */
bandwidthCap?: string, };

/**
 * Request of our own `UpdateReplicationJob`: what is absent stays as it is.
 */
export type UpdateJobRequest = { 
/**
 * Which job.
 */
replicationJobId: string, 
/**
 * Hours between runs.
 */
frequency?: number, 
/**
 * Minutes between runs, instead of hours.
 */
intervalMinutes?: number, 
/**
 * When the next run starts: moves the schedule, and resumes a paused job.
 */
nextReplicationRunStartTime?: EpochSeconds, 
/**
 * Whose licence.
 */
licenseType?: LicenseWish, 
/**
 * Role.
 */
roleName?: string, 
/**
 * For people; an empty one removes it.
 */
description?: string, 
/**
 * How many of its newest images to keep; 0 is all.
 */
numberOfRecentAmisToKeep?: number, 
/**
 * Whether images are encrypted with a chosen key.
 */
encrypted?: boolean, 
/**
 * Which key.
 */
kmsKeyId?: string, 
/**
 * All of its recipients from now on.
 */
recipients?: Array<string>, 
/**
 * Whether it is paused when scheduled runs fail in a row, instead of ending.
 */
pauseOnFailure?: boolean, 
/**
 * After how many; 0 is the configured number.
 */
pauseAfterFailures?: number, 
/**
 * How fast each of its runs may read, in the language of caps; also the one at work.
 */
bandwidthCap?: string, };

/**
 * Request of `UpdateKey`: what is absent stays as it is.
 */
export type UpdateKeyRequest = { 
/**
 * Which key: its id, an alias, or the ARN of either.
 */
keyId: string, 
/**
 * For people; an empty one removes it.
 */
description?: string, };

/**
 * Request of `UpdateLimits`.
 */
export type UpdateLimitsRequest = { 
/**
 * How fast all runs together may read, in the language of caps.
 */
bandwidthCap: string, };

/**
 * Request of `UpdatePolicy`: what is absent stays as it is.
 */
export type UpdatePolicyRequest = { 
/**
 * Which policy.
 */
policyName: string, 
/**
 * The new JSON, as text.
 */
policyDocument?: string, 
/**
 * For people; an empty one removes it.
 */
description?: string, };

/**
 * `UpdateReplicationJobRequest`.
 */
export type UpdateReplicationJobRequest = { 
/**
 * The ID of the replication job.
 */
replicationJobId: string, 
/**
 * The time between consecutive replication runs, in hours.
 */
frequency?: number, 
/**
 * The start time of the next replication run.
 */
nextReplicationRunStartTime?: EpochSeconds, 
/**
 * The license type to be used for the AMI created by a successful replication run.
 */
licenseType?: LicenseType, 
/**
 * The name of the IAM role to be used by Server Migration Service.
 */
roleName?: string, 
/**
 * The description of the replication job.
 */
description?: string, 
/**
 * The maximum number of SMS-created AMIs to retain.
 */
numberOfRecentAmisToKeep?: number, 
/**
 * When true, the replication job produces encrypted AMIs.
 */
encrypted?: boolean, 
/**
 * The ID of the KMS key for replication jobs that produce encrypted AMIs.
 */
kmsKeyId?: string, };

/**
 * `UpdateReplicationJobResponse`.
 */
export type UpdateReplicationJobResponse = Record<symbol, never>;

/**
 * Request of `UpdateRole`: what is absent stays as it is.
 */
export type UpdateRoleRequest = { 
/**
 * Which role.
 */
roleName: string, 
/**
 * The new JSON, as text.
 */
policyDocument?: string, 
/**
 * For people; an empty one removes it.
 */
description?: string, };

/**
 * Request of `UpdateReplicationRun`.
 */
export type UpdateRunRequest = { 
/**
 * Which.
 */
replicationRunId: string, 
/**
 * How fast it may read, in the language of caps; an empty one is what its job says.
 */
bandwidthCap: string, };

/**
 * A user.
 */
export type UserDescription = { 
/**
 * Its name.
 */
userName: string, 
/**
 * Whether its access keys are taken at all.
 */
enabled: boolean, 
/**
 * Names of its policies.
 */
policyNames: Array<string>, 
/**
 * Whether it can sign in to the console with a password.
 */
hasPassword: boolean, 
/**
 * When it was created.
 */
createdOn: EpochSeconds, };

/**
 * Request of the operations that need to know a user and nothing else.
 */
export type UserRequest = { 
/**
 * Which user.
 */
userName: string, };

/**
 * What the last verification found, or how far it has come.
 */
export type Verification = { 
/**
 * State.
 */
state: VerificationState, 
/**
 * When it ended.
 */
verifiedOn?: EpochSeconds, 
/**
 * Bytes re-read so far.
 */
bytesVerified?: number, 
/**
 * Bytes to re-read.
 */
bytesTotal?: number, 
/**
 * Ranges that are damaged.
 */
damaged: Array<DamagedRange>, 
/**
 * What went wrong.
 */
message?: string, };

/**
 * State of an image's verification.
 */
export type VerificationState = "UNVERIFIED" | "RUNNING" | "VERIFIED" | "DAMAGED" | "FAILED";

/**
 * Request of `VerifyAuditTrail`: number and hash of a record that was noted elsewhere, to compare.
 */
export type VerifyAuditTrailRequest = { 
/**
 * Its number.
 */
number?: number, 
/**
 * Its hash.
 */
hash?: string, };

/**
 * Answer of `VerifyAuditTrail`.
 */
export type VerifyAuditTrailResponse = { 
/**
 * Whether nothing was changed, removed or put between.
 */
intact: boolean, 
/**
 * How many records are in order, from the first one that is kept.
 */
records: number, 
/**
 * The last record that was pruned; 0 if none was.
 */
prunedUpTo: number, 
/**
 * The last record that is in order.
 */
lastNumber: number, 
/**
 * Its hash: kept elsewhere, it proves later that nothing up to it was changed.
 */
lastHash: string, 
/**
 * The first record that is not in order.
 */
brokenNumber?: number, 
/**
 * What is wrong with it.
 */
reason?: string, };

/**
 * Values of `VmManagerType`.
 */
export type VmManagerType = "VSPHERE" | "SCVMM" | "HYPERV-MANAGER";

/**
 * Represents a VM server.
 */
export type VmServer = { 
/**
 * The VM server location.
 */
vmServerAddress?: VmServerAddress, 
/**
 * The name of the VM.
 */
vmName?: string, 
/**
 * The name of the VM manager.
 */
vmManagerName?: string, 
/**
 * The type of VM management product.
 */
vmManagerType?: VmManagerType, 
/**
 * The VM folder path in the vCenter Server virtual machine inventory tree.
 */
vmPath?: string, };

/**
 * Represents a VM server location.
 */
export type VmServerAddress = { 
/**
 * The ID of the VM manager.
 */
vmManagerId?: string, 
/**
 * The ID of the VM.
 */
vmId?: string, };

