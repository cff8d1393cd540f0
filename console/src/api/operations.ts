// Every operation that the console calls, by the name that policies give it, with its request and its answer.

import type * as S from './shapes';

type Nothing = Record<string, never>;

export type Operations = {
  'sms:DeleteReplicationJob': [{ replicationJobId: string }, Nothing];
  'sms:DeleteServerCatalog': [Nothing, Nothing];
  'sms:DisassociateConnector': [{ connectorId: string }, Nothing];
  'sms:ImportServerCatalog': [Nothing, Nothing];
  'sms:StartOnDemandReplicationRun': [{ replicationJobId: string; description?: string }, { replicationRunId?: string }];
  'godwit:AssociateConnector': [S.AssociateConnectorRequest, S.AssociateConnectorResponse];
  'godwit:DescribeConnectors': [S.DescribeConnectorsRequest, S.DescribeConnectorsResponse];
  'godwit:UpdateConnector': [S.UpdateConnectorRequest, S.NoAnswer];
  'godwit:DescribeServers': [S.DescribeServersRequest, S.DescribeServersResponse];
  'godwit:CreateReplicationJob': [S.CreateJobRequest, S.CreateJobResponse];
  'godwit:UpdateReplicationJob': [S.UpdateJobRequest, S.NoAnswer];
  'godwit:ResumeReplicationJob': [S.ResumeJobRequest, S.NoAnswer];
  'godwit:DescribeReplicationJobs': [S.DescribeJobsRequest, S.DescribeJobsResponse];
  'godwit:DescribeReplicationRuns': [S.DescribeReplicationRunsRequest, S.DescribeReplicationRunsResponse];
  'godwit:UpdateReplicationRun': [S.UpdateRunRequest, S.NoAnswer];
  'godwit:GetForecast': [S.GetForecastRequest, S.GetForecastResponse];
  'godwit:DescribeImages': [S.DescribeImagesRequest, S.DescribeImagesResponse];
  'godwit:DescribeSnapshots': [S.DescribeSnapshotsRequest, S.DescribeSnapshotsResponse];
  'godwit:StartImageVerification': [S.ImageRequest, S.NoAnswer];
  'godwit:ListImageExtents': [S.ListImageExtentsRequest, S.ListImageExtentsResponse];
  'godwit:DeleteImage': [S.ImageRequest, S.NoAnswer];
  'godwit:DescribeNotifications': [S.DescribeNotificationsRequest, S.DescribeNotificationsResponse];
  'godwit:RedeliverNotification': [S.RedeliverNotificationRequest, S.NoAnswer];
  'godwit:SendTestNotification': [S.SendTestNotificationRequest, S.SendTestNotificationResponse];
  'godwit:DescribeLimits': [S.DescribeLimitsRequest, S.DescribeLimitsResponse];
  'godwit:UpdateLimits': [S.UpdateLimitsRequest, S.NoAnswer];
  'godwit:DescribeStore': [S.DescribeStoreRequest, S.DescribeStoreResponse];
  'godwit:StartSweep': [S.StartSweepRequest, S.StartSweepResponse];
  'godwit:DescribeSweeps': [S.DescribeSweepsRequest, S.DescribeSweepsResponse];
  'godwit:StartScrub': [S.StartScrubRequest, S.StartScrubResponse];
  'godwit:DescribeScrub': [S.DescribeScrubRequest, S.ScrubDescription];
  'godwit:DescribeAuditRecords': [S.DescribeAuditRecordsRequest, S.DescribeAuditRecordsResponse];
  'godwit:VerifyAuditTrail': [S.VerifyAuditTrailRequest, S.VerifyAuditTrailResponse];
  'godwit:CreateUser': [S.CreateUserRequest, S.NoAnswer];
  'godwit:DescribeUsers': [S.DescribeUsersRequest, S.DescribeUsersResponse];
  'godwit:EnableUser': [S.UserRequest, S.NoAnswer];
  'godwit:DisableUser': [S.UserRequest, S.NoAnswer];
  'godwit:DeleteUser': [S.UserRequest, S.NoAnswer];
  'godwit:SetPassword': [S.SetPasswordRequest, S.NoAnswer];
  'godwit:DeletePassword': [S.UserRequest, S.NoAnswer];
  'godwit:CreateSignInLink': [S.CreateSignInLinkRequest, S.CreateSignInLinkResponse];
  'godwit:AttachPolicy': [S.PolicyOfUserRequest, S.NoAnswer];
  'godwit:DetachPolicy': [S.PolicyOfUserRequest, S.NoAnswer];
  'godwit:CreateAccessKey': [S.UserRequest, S.NewAccessKeyResponse];
  'godwit:RotateAccessKey': [S.RotateAccessKeyRequest, S.NewAccessKeyResponse];
  'godwit:EnableAccessKey': [S.AccessKeyRequest, S.NoAnswer];
  'godwit:DisableAccessKey': [S.AccessKeyRequest, S.NoAnswer];
  'godwit:DeleteAccessKey': [S.AccessKeyRequest, S.NoAnswer];
  'godwit:DescribeAccessKeys': [S.DescribeAccessKeysRequest, S.DescribeAccessKeysResponse];
  'godwit:CreatePolicy': [S.CreatePolicyRequest, S.NoAnswer];
  'godwit:UpdatePolicy': [S.UpdatePolicyRequest, S.NoAnswer];
  'godwit:DeletePolicy': [S.PolicyRequest, S.NoAnswer];
  'godwit:DescribePolicies': [S.DescribePoliciesRequest, S.DescribePoliciesResponse];
  'godwit:CreateRole': [S.CreateRoleRequest, S.NoAnswer];
  'godwit:UpdateRole': [S.UpdateRoleRequest, S.NoAnswer];
  'godwit:DeleteRole': [S.RoleRequest, S.NoAnswer];
  'godwit:DescribeRoles': [S.DescribeRolesRequest, S.DescribeRolesResponse];
  'godwit:CreateKey': [S.CreateKeyRequest, S.CreateKeyResponse];
  'godwit:DescribeKeys': [S.DescribeKeysRequest, S.DescribeKeysResponse];
  'godwit:UpdateKey': [S.UpdateKeyRequest, S.NoAnswer];
  'godwit:RotateKey': [S.KeyRequest, S.RotateKeyResponse];
  'godwit:EnableKey': [S.KeyRequest, S.NoAnswer];
  'godwit:DisableKey': [S.KeyRequest, S.NoAnswer];
  'godwit:SetDefaultKey': [S.KeyRequest, S.NoAnswer];
  'godwit:CreateAlias': [S.CreateAliasRequest, S.NoAnswer];
  'godwit:DeleteAlias': [S.DeleteAliasRequest, S.NoAnswer];
};

/** What is asked of the service, as policies name it. */
export type Action = keyof Operations;

/** What policies allow besides that has no JSON answer. */
export type Permission = Action | 'godwit:ReadImage';

export type RequestOf<A extends Action> = Operations[A][0];
export type AnswerOf<A extends Action> = Operations[A][1];

const TARGETS: Record<string, string> = { sms: 'AWSServerMigrationService_V2016_10_24', godwit: 'Godwit_V1' };

/** The value of `X-Amz-Target`. */
export function targetOf(action: Permission): string {
  const [prefix = '', name = ''] = action.split(':');
  return `${TARGETS[prefix]}.${name}`;
}
