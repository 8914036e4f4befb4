//! Roles and users in a real etcd: each of our roles is a user by its certificate's common name, without a password, and
//! may touch the keys that [`Role::store_rights`] says.

use super::EtcdClient;
use super::call::Kind;
use super::doubt::Answer;
use crate::wire::administration as admin;
use crate::{KeyRange, RefusalCode, StoreError};
use admin::auth_client::AuthClient;
use admin::permission::Type;
use futures::future::BoxFuture;
use identity::{Access, Role, StoreRight};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// The user and the role of it that etcd wants before it asks anyone for credentials. No certificate names it.
const ROOT: &str = "root";

/// etcd's refusals of what is there already.
const ROLE_EXISTS: &str = "etcdserver: role name already exists";
const USER_EXISTS: &str = "etcdserver: user name already exists";

impl EtcdClient {
    /// Brings users, roles and their rights to what this release says, and has etcd ask for certificates from then on.
    /// May be repeated, and ended half-way. Until it was done once, every certificate may do everything; later only
    /// those of [`Role::Admin`] may do this.
    pub async fn enable_auth(&self) -> Result<(), StoreError> {
        self.add_role(ROOT).await?;
        self.add_user(ROOT).await?;
        self.grant_role(ROOT, ROOT).await?;
        for role in Role::ALL {
            self.add_user(role.name()).await?;
            match role {
                Role::Admin => self.grant_role(role.name(), ROOT).await?,
                _ if role.store_rights().is_empty() => {}
                _ => {
                    self.add_role(role.name()).await?;
                    self.adapt_rights(role).await?;
                    self.grant_role(role.name(), role.name()).await?;
                }
            }
        }
        self.administer(admin::AuthEnableRequest {}, |mut client, request| {
            Box::pin(async move { client.auth_enable(request).await })
        })
        .await
        .map(drop)
    }

    async fn add_role(&self, name: &str) -> Result<(), StoreError> {
        let request = admin::AuthRoleAddRequest { name: name.to_owned() };
        let added = self
            .administer(request, |mut client, request| Box::pin(async move { client.role_add(request).await }))
            .await;
        unless_there(added.map(drop), ROLE_EXISTS)
    }

    async fn add_user(&self, name: &str) -> Result<(), StoreError> {
        let options = Some(admin::UserAddOptions { no_password: true });
        let request = admin::AuthUserAddRequest { name: name.to_owned(), password: String::new(), options };
        let added = self
            .administer(request, |mut client, request| Box::pin(async move { client.user_add(request).await }))
            .await;
        unless_there(added.map(drop), USER_EXISTS)
    }

    async fn grant_role(&self, user: &str, role: &str) -> Result<(), StoreError> {
        let request = admin::AuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() };
        self.administer(request, |mut client, request| Box::pin(async move { client.user_grant_role(request).await }))
            .await
            .map(drop)
    }

    async fn administer<Q: Clone, A: Answer>(
        &self,
        request: Q,
        send: impl Fn(AuthClient<Channel>, Request<Q>) -> BoxFuture<'static, Result<Response<A>, Status>>,
    ) -> Result<A, StoreError> {
        let send = |channel, request| send(AuthClient::new(channel), request);
        self.call(Kind::Administration, || request.clone(), send).await
    }

    async fn adapt_rights(&self, role: Role) -> Result<(), StoreError> {
        let request = admin::AuthRoleGetRequest { role: role.name().to_owned() };
        let found = self
            .administer(request, |mut client, request| Box::pin(async move { client.role_get(request).await }))
            .await?
            .perm;
        let wanted: Vec<_> = role.store_rights().iter().map(permission).collect();
        for old in found.iter().filter(|old| !wanted.contains(old)) {
            let (key, range_end) = (old.key.clone(), old.range_end.clone());
            let request = admin::AuthRoleRevokePermissionRequest { role: role.name().to_owned(), key, range_end };
            self.administer(request, |mut client, request| {
                Box::pin(async move { client.role_revoke_permission(request).await })
            })
            .await?;
        }
        for new in wanted.into_iter().filter(|new| !found.contains(new)) {
            let request = admin::AuthRoleGrantPermissionRequest { name: role.name().to_owned(), perm: Some(new) };
            self.administer(request, |mut client, request| {
                Box::pin(async move { client.role_grant_permission(request).await })
            })
            .await?;
        }
        Ok(())
    }
}

fn permission(right: &StoreRight) -> admin::Permission {
    let range = KeyRange::prefix(right.prefix);
    let access = match right.access {
        Access::Read => Type::Read,
        Access::Write => Type::Readwrite,
    };
    admin::Permission { perm_type: access.into(), key: range.key, range_end: range.end }
}

fn unless_there(result: Result<(), StoreError>, message: &str) -> Result<(), StoreError> {
    match result {
        Err(StoreError::Refused { code: RefusalCode::FailedPrecondition, message: refusal }) if refusal == message => {
            Ok(())
        }
        result => result,
    }
}
