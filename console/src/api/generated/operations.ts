// Made from crates/api/src/shapes by a test of godwit-api. To make it anew:
// GODWIT_BINDINGS=write cargo test -p godwit-api bindings

import type {
  AccessKeyRequest,
  AssociateConnectorRequest,
  AssociateConnectorResponse,
  CreateAliasRequest,
  CreateJobRequest,
  CreateJobResponse,
  CreateKeyRequest,
  CreateKeyResponse,
  CreatePolicyRequest,
  CreateReplicationJobRequest,
  CreateReplicationJobResponse,
  CreateRoleRequest,
  CreateSignInLinkResponse,
  CreateUserRequest,
  DeleteAliasRequest,
  DeleteReplicationJobRequest,
  DeleteReplicationJobResponse,
  DeleteServerCatalogRequest,
  DeleteServerCatalogResponse,
  DescribeAccessKeysRequest,
  DescribeAccessKeysResponse,
  DescribeAuditRecordsRequest,
  DescribeAuditRecordsResponse,
  DescribeConnectorsRequest,
  DescribeConnectorsResponse,
  DescribeImagesRequest,
  DescribeImagesResponse,
  DescribeJobsRequest,
  DescribeJobsResponse,
  DescribeKeysRequest,
  DescribeKeysResponse,
  DescribeLimitsRequest,
  DescribeLimitsResponse,
  DescribeNotificationsRequest,
  DescribeNotificationsResponse,
  DescribePoliciesRequest,
  DescribePoliciesResponse,
  DescribeReplicationRunsRequest,
  DescribeReplicationRunsResponse,
  DescribeRolesRequest,
  DescribeRolesResponse,
  DescribeScrubRequest,
  DescribeServersRequest,
  DescribeServersResponse,
  DescribeSettingsRequest,
  DescribeSettingsResponse,
  DescribeSnapshotsRequest,
  DescribeSnapshotsResponse,
  DescribeStoreRequest,
  DescribeStoreResponse,
  DescribeStoreUseRequest,
  DescribeStoreUseResponse,
  DescribeSweepsRequest,
  DescribeSweepsResponse,
  DescribeUsersRequest,
  DescribeUsersResponse,
  DisassociateConnectorRequest,
  DisassociateConnectorResponse,
  GetConnectorsRequest,
  GetConnectorsResponse,
  GetForecastRequest,
  GetForecastResponse,
  GetReplicationJobsRequest,
  GetReplicationJobsResponse,
  GetReplicationRunsRequest,
  GetReplicationRunsResponse,
  GetServersRequest,
  GetServersResponse,
  ImageRequest,
  ImportServerCatalogRequest,
  ImportServerCatalogResponse,
  KeyRequest,
  ListImageChangesRequest,
  ListImageChangesResponse,
  ListImageExtentsRequest,
  ListImageExtentsResponse,
  NewAccessKeyResponse,
  NoAnswer,
  PolicyOfUserRequest,
  PolicyRequest,
  PreviewSweepRequest,
  PreviewSweepResponse,
  ReadImageRequest,
  RedeliverNotificationRequest,
  ResumeJobRequest,
  RoleRequest,
  RotateAccessKeyRequest,
  RotateKeyResponse,
  ScrubDescription,
  SendTestNotificationRequest,
  SendTestNotificationResponse,
  SetPasswordRequest,
  StartOnDemandReplicationRunRequest,
  StartOnDemandReplicationRunResponse,
  StartScrubRequest,
  StartScrubResponse,
  StartSweepRequest,
  StartSweepResponse,
  TestConnectorRequest,
  TestConnectorResponse,
  UpdateConnectorRequest,
  UpdateJobRequest,
  UpdateKeyRequest,
  UpdateLimitsRequest,
  UpdatePolicyRequest,
  UpdateReplicationJobRequest,
  UpdateReplicationJobResponse,
  UpdateRoleRequest,
  UpdateRunRequest,
  UserRequest,
  VerifyAuditTrailRequest,
  VerifyAuditTrailResponse,
} from './shapes';

/** Every operation by the name of its action: what it is asked, and what it answers. */
export interface Operations {
  'godwit:AssociateConnector': { request: AssociateConnectorRequest; answer: AssociateConnectorResponse };
  'godwit:AttachPolicy': { request: PolicyOfUserRequest; answer: NoAnswer };
  'godwit:CreateAccessKey': { request: UserRequest; answer: NewAccessKeyResponse };
  'godwit:CreateAlias': { request: CreateAliasRequest; answer: NoAnswer };
  'godwit:CreateKey': { request: CreateKeyRequest; answer: CreateKeyResponse };
  'godwit:CreatePolicy': { request: CreatePolicyRequest; answer: NoAnswer };
  'godwit:CreateReplicationJob': { request: CreateJobRequest; answer: CreateJobResponse };
  'godwit:CreateRole': { request: CreateRoleRequest; answer: NoAnswer };
  'godwit:CreateSignInLink': { request: UserRequest; answer: CreateSignInLinkResponse };
  'godwit:CreateUser': { request: CreateUserRequest; answer: NoAnswer };
  'godwit:DeleteAccessKey': { request: AccessKeyRequest; answer: NoAnswer };
  'godwit:DeleteAlias': { request: DeleteAliasRequest; answer: NoAnswer };
  'godwit:DeleteImage': { request: ImageRequest; answer: NoAnswer };
  'godwit:DeletePassword': { request: UserRequest; answer: NoAnswer };
  'godwit:DeletePolicy': { request: PolicyRequest; answer: NoAnswer };
  'godwit:DeleteRole': { request: RoleRequest; answer: NoAnswer };
  'godwit:DeleteUser': { request: UserRequest; answer: NoAnswer };
  'godwit:DescribeAccessKeys': { request: DescribeAccessKeysRequest; answer: DescribeAccessKeysResponse };
  'godwit:DescribeAuditRecords': { request: DescribeAuditRecordsRequest; answer: DescribeAuditRecordsResponse };
  'godwit:DescribeConnectors': { request: DescribeConnectorsRequest; answer: DescribeConnectorsResponse };
  'godwit:DescribeImages': { request: DescribeImagesRequest; answer: DescribeImagesResponse };
  'godwit:DescribeKeys': { request: DescribeKeysRequest; answer: DescribeKeysResponse };
  'godwit:DescribeLimits': { request: DescribeLimitsRequest; answer: DescribeLimitsResponse };
  'godwit:DescribeNotifications': { request: DescribeNotificationsRequest; answer: DescribeNotificationsResponse };
  'godwit:DescribePolicies': { request: DescribePoliciesRequest; answer: DescribePoliciesResponse };
  'godwit:DescribeReplicationJobs': { request: DescribeJobsRequest; answer: DescribeJobsResponse };
  'godwit:DescribeReplicationRuns': { request: DescribeReplicationRunsRequest; answer: DescribeReplicationRunsResponse };
  'godwit:DescribeRoles': { request: DescribeRolesRequest; answer: DescribeRolesResponse };
  'godwit:DescribeScrub': { request: DescribeScrubRequest; answer: ScrubDescription };
  'godwit:DescribeServers': { request: DescribeServersRequest; answer: DescribeServersResponse };
  'godwit:DescribeSettings': { request: DescribeSettingsRequest; answer: DescribeSettingsResponse };
  'godwit:DescribeSnapshots': { request: DescribeSnapshotsRequest; answer: DescribeSnapshotsResponse };
  'godwit:DescribeStore': { request: DescribeStoreRequest; answer: DescribeStoreResponse };
  'godwit:DescribeStoreUse': { request: DescribeStoreUseRequest; answer: DescribeStoreUseResponse };
  'godwit:DescribeSweeps': { request: DescribeSweepsRequest; answer: DescribeSweepsResponse };
  'godwit:DescribeUsers': { request: DescribeUsersRequest; answer: DescribeUsersResponse };
  'godwit:DetachPolicy': { request: PolicyOfUserRequest; answer: NoAnswer };
  'godwit:DisableAccessKey': { request: AccessKeyRequest; answer: NoAnswer };
  'godwit:DisableKey': { request: KeyRequest; answer: NoAnswer };
  'godwit:DisableUser': { request: UserRequest; answer: NoAnswer };
  'godwit:EnableAccessKey': { request: AccessKeyRequest; answer: NoAnswer };
  'godwit:EnableKey': { request: KeyRequest; answer: NoAnswer };
  'godwit:EnableUser': { request: UserRequest; answer: NoAnswer };
  'godwit:GetForecast': { request: GetForecastRequest; answer: GetForecastResponse };
  'godwit:ListImageChanges': { request: ListImageChangesRequest; answer: ListImageChangesResponse };
  'godwit:ListImageExtents': { request: ListImageExtentsRequest; answer: ListImageExtentsResponse };
  'godwit:PreviewSweep': { request: PreviewSweepRequest; answer: PreviewSweepResponse };
  'godwit:ReadImage': { request: ReadImageRequest; answer: ArrayBuffer };
  'godwit:RedeliverNotification': { request: RedeliverNotificationRequest; answer: NoAnswer };
  'godwit:ResumeReplicationJob': { request: ResumeJobRequest; answer: NoAnswer };
  'godwit:RotateAccessKey': { request: RotateAccessKeyRequest; answer: NewAccessKeyResponse };
  'godwit:RotateKey': { request: KeyRequest; answer: RotateKeyResponse };
  'godwit:SendTestNotification': { request: SendTestNotificationRequest; answer: SendTestNotificationResponse };
  'godwit:SetDefaultKey': { request: KeyRequest; answer: NoAnswer };
  'godwit:SetPassword': { request: SetPasswordRequest; answer: NoAnswer };
  'godwit:StartImageVerification': { request: ImageRequest; answer: NoAnswer };
  'godwit:StartScrub': { request: StartScrubRequest; answer: StartScrubResponse };
  'godwit:StartSweep': { request: StartSweepRequest; answer: StartSweepResponse };
  'godwit:TestConnector': { request: TestConnectorRequest; answer: TestConnectorResponse };
  'godwit:UpdateConnector': { request: UpdateConnectorRequest; answer: NoAnswer };
  'godwit:UpdateKey': { request: UpdateKeyRequest; answer: NoAnswer };
  'godwit:UpdateLimits': { request: UpdateLimitsRequest; answer: NoAnswer };
  'godwit:UpdatePolicy': { request: UpdatePolicyRequest; answer: NoAnswer };
  'godwit:UpdateReplicationJob': { request: UpdateJobRequest; answer: NoAnswer };
  'godwit:UpdateReplicationRun': { request: UpdateRunRequest; answer: NoAnswer };
  'godwit:UpdateRole': { request: UpdateRoleRequest; answer: NoAnswer };
  'godwit:VerifyAuditTrail': { request: VerifyAuditTrailRequest; answer: VerifyAuditTrailResponse };
  'sms:CreateReplicationJob': { request: CreateReplicationJobRequest; answer: CreateReplicationJobResponse };
  'sms:DeleteReplicationJob': { request: DeleteReplicationJobRequest; answer: DeleteReplicationJobResponse };
  'sms:DeleteServerCatalog': { request: DeleteServerCatalogRequest; answer: DeleteServerCatalogResponse };
  'sms:DisassociateConnector': { request: DisassociateConnectorRequest; answer: DisassociateConnectorResponse };
  'sms:GetConnectors': { request: GetConnectorsRequest; answer: GetConnectorsResponse };
  'sms:GetReplicationJobs': { request: GetReplicationJobsRequest; answer: GetReplicationJobsResponse };
  'sms:GetReplicationRuns': { request: GetReplicationRunsRequest; answer: GetReplicationRunsResponse };
  'sms:GetServers': { request: GetServersRequest; answer: GetServersResponse };
  'sms:ImportServerCatalog': { request: ImportServerCatalogRequest; answer: ImportServerCatalogResponse };
  'sms:StartOnDemandReplicationRun': { request: StartOnDemandReplicationRunRequest; answer: StartOnDemandReplicationRunResponse };
  'sms:UpdateReplicationJob': { request: UpdateReplicationJobRequest; answer: UpdateReplicationJobResponse };
}

/** What the header X-Amz-Target says for each. */
export const TARGETS: Record<keyof Operations, string> = {
  'godwit:AssociateConnector': 'Godwit_V1.AssociateConnector',
  'godwit:AttachPolicy': 'Godwit_V1.AttachPolicy',
  'godwit:CreateAccessKey': 'Godwit_V1.CreateAccessKey',
  'godwit:CreateAlias': 'Godwit_V1.CreateAlias',
  'godwit:CreateKey': 'Godwit_V1.CreateKey',
  'godwit:CreatePolicy': 'Godwit_V1.CreatePolicy',
  'godwit:CreateReplicationJob': 'Godwit_V1.CreateReplicationJob',
  'godwit:CreateRole': 'Godwit_V1.CreateRole',
  'godwit:CreateSignInLink': 'Godwit_V1.CreateSignInLink',
  'godwit:CreateUser': 'Godwit_V1.CreateUser',
  'godwit:DeleteAccessKey': 'Godwit_V1.DeleteAccessKey',
  'godwit:DeleteAlias': 'Godwit_V1.DeleteAlias',
  'godwit:DeleteImage': 'Godwit_V1.DeleteImage',
  'godwit:DeletePassword': 'Godwit_V1.DeletePassword',
  'godwit:DeletePolicy': 'Godwit_V1.DeletePolicy',
  'godwit:DeleteRole': 'Godwit_V1.DeleteRole',
  'godwit:DeleteUser': 'Godwit_V1.DeleteUser',
  'godwit:DescribeAccessKeys': 'Godwit_V1.DescribeAccessKeys',
  'godwit:DescribeAuditRecords': 'Godwit_V1.DescribeAuditRecords',
  'godwit:DescribeConnectors': 'Godwit_V1.DescribeConnectors',
  'godwit:DescribeImages': 'Godwit_V1.DescribeImages',
  'godwit:DescribeKeys': 'Godwit_V1.DescribeKeys',
  'godwit:DescribeLimits': 'Godwit_V1.DescribeLimits',
  'godwit:DescribeNotifications': 'Godwit_V1.DescribeNotifications',
  'godwit:DescribePolicies': 'Godwit_V1.DescribePolicies',
  'godwit:DescribeReplicationJobs': 'Godwit_V1.DescribeReplicationJobs',
  'godwit:DescribeReplicationRuns': 'Godwit_V1.DescribeReplicationRuns',
  'godwit:DescribeRoles': 'Godwit_V1.DescribeRoles',
  'godwit:DescribeScrub': 'Godwit_V1.DescribeScrub',
  'godwit:DescribeServers': 'Godwit_V1.DescribeServers',
  'godwit:DescribeSettings': 'Godwit_V1.DescribeSettings',
  'godwit:DescribeSnapshots': 'Godwit_V1.DescribeSnapshots',
  'godwit:DescribeStore': 'Godwit_V1.DescribeStore',
  'godwit:DescribeStoreUse': 'Godwit_V1.DescribeStoreUse',
  'godwit:DescribeSweeps': 'Godwit_V1.DescribeSweeps',
  'godwit:DescribeUsers': 'Godwit_V1.DescribeUsers',
  'godwit:DetachPolicy': 'Godwit_V1.DetachPolicy',
  'godwit:DisableAccessKey': 'Godwit_V1.DisableAccessKey',
  'godwit:DisableKey': 'Godwit_V1.DisableKey',
  'godwit:DisableUser': 'Godwit_V1.DisableUser',
  'godwit:EnableAccessKey': 'Godwit_V1.EnableAccessKey',
  'godwit:EnableKey': 'Godwit_V1.EnableKey',
  'godwit:EnableUser': 'Godwit_V1.EnableUser',
  'godwit:GetForecast': 'Godwit_V1.GetForecast',
  'godwit:ListImageChanges': 'Godwit_V1.ListImageChanges',
  'godwit:ListImageExtents': 'Godwit_V1.ListImageExtents',
  'godwit:PreviewSweep': 'Godwit_V1.PreviewSweep',
  'godwit:ReadImage': 'Godwit_V1.ReadImage',
  'godwit:RedeliverNotification': 'Godwit_V1.RedeliverNotification',
  'godwit:ResumeReplicationJob': 'Godwit_V1.ResumeReplicationJob',
  'godwit:RotateAccessKey': 'Godwit_V1.RotateAccessKey',
  'godwit:RotateKey': 'Godwit_V1.RotateKey',
  'godwit:SendTestNotification': 'Godwit_V1.SendTestNotification',
  'godwit:SetDefaultKey': 'Godwit_V1.SetDefaultKey',
  'godwit:SetPassword': 'Godwit_V1.SetPassword',
  'godwit:StartImageVerification': 'Godwit_V1.StartImageVerification',
  'godwit:StartScrub': 'Godwit_V1.StartScrub',
  'godwit:StartSweep': 'Godwit_V1.StartSweep',
  'godwit:TestConnector': 'Godwit_V1.TestConnector',
  'godwit:UpdateConnector': 'Godwit_V1.UpdateConnector',
  'godwit:UpdateKey': 'Godwit_V1.UpdateKey',
  'godwit:UpdateLimits': 'Godwit_V1.UpdateLimits',
  'godwit:UpdatePolicy': 'Godwit_V1.UpdatePolicy',
  'godwit:UpdateReplicationJob': 'Godwit_V1.UpdateReplicationJob',
  'godwit:UpdateReplicationRun': 'Godwit_V1.UpdateReplicationRun',
  'godwit:UpdateRole': 'Godwit_V1.UpdateRole',
  'godwit:VerifyAuditTrail': 'Godwit_V1.VerifyAuditTrail',
  'sms:CreateReplicationJob': 'AWSServerMigrationService_V2016_10_24.CreateReplicationJob',
  'sms:DeleteReplicationJob': 'AWSServerMigrationService_V2016_10_24.DeleteReplicationJob',
  'sms:DeleteServerCatalog': 'AWSServerMigrationService_V2016_10_24.DeleteServerCatalog',
  'sms:DisassociateConnector': 'AWSServerMigrationService_V2016_10_24.DisassociateConnector',
  'sms:GetConnectors': 'AWSServerMigrationService_V2016_10_24.GetConnectors',
  'sms:GetReplicationJobs': 'AWSServerMigrationService_V2016_10_24.GetReplicationJobs',
  'sms:GetReplicationRuns': 'AWSServerMigrationService_V2016_10_24.GetReplicationRuns',
  'sms:GetServers': 'AWSServerMigrationService_V2016_10_24.GetServers',
  'sms:ImportServerCatalog': 'AWSServerMigrationService_V2016_10_24.ImportServerCatalog',
  'sms:StartOnDemandReplicationRun': 'AWSServerMigrationService_V2016_10_24.StartOnDemandReplicationRun',
  'sms:UpdateReplicationJob': 'AWSServerMigrationService_V2016_10_24.UpdateReplicationJob',
};
