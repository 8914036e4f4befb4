//! The account at the authority: one, made once, with a key that is kept before the authority hears of it.

use super::http::Http;
use super::order::OrderError;
use super::record::{AccountRecord, AccountSecret};
use super::settings::Settings;
use super::vault::{Vault, json, put};
use crate::keys;
use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use instant_acme::{Account, ExternalAccountKey, Key, NewAccount};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The account that is kept, or a new one where there is none at this authority.
pub(super) async fn open(vault: &Vault, settings: &Settings, http: &Http) -> Result<Account, OrderError> {
    let builder = || Account::builder_with_http(Box::new(http.clone()));
    let kept = vault.account().await?.filter(|record| record.directory == settings.directory);
    let secret = match &kept {
        Some(record) => match vault.seal_key()?.open(&record.sealed) {
            Ok(opened) => Some(serde_json::from_slice(&opened).map_err(|_| OrderError::AccountUnreadable)?),
            Err(error) => {
                tracing::warn!(%error, "the account at the certificate authority is sealed with another key: a new one is made");
                None
            }
        },
        None => None,
    };
    let (account, known_email) = match secret {
        Some(AccountSecret::Registered { id, key_pkcs8, directory }) => {
            let account = builder().from_parts(id, decode(&key_pkcs8)?, directory).await?;
            (account, kept.and_then(|record| record.email))
        }
        Some(AccountSecret::Key { key_pkcs8 }) => (register(vault, settings, http, &key_pkcs8).await?, None),
        None => match &settings.external_account {
            None => {
                let (_, key) = Key::generate_pkcs8()?;
                let key_pkcs8 = URL_SAFE_NO_PAD.encode(key.secret_pkcs8_der());
                keep(vault, settings, None, &AccountSecret::Key { key_pkcs8: key_pkcs8.clone() }).await?;
                (register(vault, settings, http, &key_pkcs8).await?, None)
            }
            Some(external) => {
                // The key is made in there: a leader that dies in this moment leaves an account that nobody uses.
                let hmac = URL_SAFE_NO_PAD.decode(&external.hmac).or_else(|_| URL_SAFE.decode(&external.hmac));
                let bound = ExternalAccountKey::new(
                    external.kid.clone(),
                    &hmac.map_err(|_| OrderError::ExternalAccountUnreadable)?,
                );
                let contact: Vec<String> = contact(settings).collect();
                let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
                let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
                let (account, credentials) = builder().create(&new, settings.directory.clone(), Some(&bound)).await?;
                let secret = registered(settings, &account, credentials.private_key());
                keep(vault, settings, settings.email.clone(), &secret).await?;
                (account, settings.email.clone())
            }
        },
    };
    if known_email != settings.email {
        let contact: Vec<String> = contact(settings).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        account.update_contacts(&contact).await?;
        if let Some(record) = vault.account().await? {
            let record = AccountRecord { email: settings.email.clone(), ..record };
            vault.write(vec![put(keys::ACME_ACCOUNT.to_owned(), &record)]).await?;
        }
    }
    Ok(account)
}

/// The same key gives the same account, however often it is asked.
async fn register(vault: &Vault, settings: &Settings, http: &Http, key_pkcs8: &str) -> Result<Account, OrderError> {
    let der = decode(key_pkcs8)?;
    let key = Key::from_pkcs8_der(der.clone_key())?;
    let builder = Account::builder_with_http(Box::new(http.clone()));
    let created = builder.create_from_key((key, PrivateKeyDer::Pkcs8(der)), settings.directory.clone()).await;
    let (account, credentials) = created?;
    let secret = registered(settings, &account, credentials.private_key());
    keep(vault, settings, None, &secret).await?;
    tracing::info!(directory = settings.directory, "an account at the certificate authority is made");
    Ok(account)
}

fn registered(settings: &Settings, account: &Account, key: &PrivatePkcs8KeyDer<'_>) -> AccountSecret {
    AccountSecret::Registered {
        id: account.id().to_owned(),
        key_pkcs8: URL_SAFE_NO_PAD.encode(key.secret_pkcs8_der()),
        directory: settings.directory.clone(),
    }
}

async fn keep(
    vault: &Vault,
    settings: &Settings,
    email: Option<String>,
    secret: &AccountSecret,
) -> Result<(), OrderError> {
    let sealed = vault.seal_key()?.seal(&json(secret)).map_err(super::VaultError::from)?;
    let record = AccountRecord { v: 0, directory: settings.directory.clone(), email, sealed };
    vault.write(vec![put(keys::ACME_ACCOUNT.to_owned(), &record)]).await?;
    Ok(())
}

fn decode(key_pkcs8: &str) -> Result<PrivatePkcs8KeyDer<'static>, OrderError> {
    let der = URL_SAFE_NO_PAD.decode(key_pkcs8).map_err(|_| OrderError::AccountUnreadable)?;
    Ok(PrivatePkcs8KeyDer::from(der))
}

fn contact(settings: &Settings) -> impl Iterator<Item = String> {
    settings.email.iter().map(|email| format!("mailto:{email}"))
}
