//! How a certificate authority is asked: the same flags for `up`, `controller` and the process of `up`, and the section
//! `[acme]` of the configuration file.

use crate::config::ConfigError;
use anyhow::Context;
use controller::acme::{CHALLENGE_DEFAULT, Challenge, DIRECTORY_DEFAULT, ExternalAccount, Settings};
use identity::Token;
use serde::Deserialize;
use std::convert::Infallible;
use std::path::PathBuf;

/// A secret: handed to a child by its environment, not by its command line.
pub const HMAC_VARIABLE: &str = "ROADSTEAD_ACME_EAB_HMAC";

#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[command(next_help_heading = "HTTPS")]
pub struct Acme {
    /// Ask a certificate authority for certificates where an app's label asks for it, and agree to its terms: your e-mail
    #[arg(long = "acme-email", value_name = "E-MAIL", env = "ROADSTEAD_ACME_EMAIL")]
    pub email: Option<String>,
    /// The same without an e-mail
    #[arg(long = "acme-agree")]
    pub agree: bool,
    /// The authority's directory; default: Let's Encrypt
    #[arg(long = "acme-directory", value_name = "URL")]
    pub directory: Option<String>,
    /// Who vouches for the directory's own certificate, in PEM form, besides those whom this machine trusts
    #[arg(long = "acme-ca", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How names are shown to be ours: http-01 (port 80) or tls-alpn-01 (port 443); default: http-01
    #[arg(long = "acme-challenge", value_name = "KIND")]
    pub challenge: Option<Challenge>,
    /// An external account, where the authority wants one: its key's id; the key in ROADSTEAD_ACME_EAB_HMAC (base64url)
    #[arg(long = "acme-eab-kid", value_name = "ID")]
    pub eab_kid: Option<String>,
    #[arg(long = "acme-eab-hmac", env = HMAC_VARIABLE, hide = true, hide_env_values = true, value_parser = secret)]
    pub eab_hmac: Option<Token>,
}

/// What is not told to a log.
pub fn secret(text: &str) -> Result<Token, Infallible> {
    Ok(Token::from_text(text))
}

impl Acme {
    /// These flags over what the configuration file says.
    pub fn over(self, file: Self) -> Self {
        Self {
            email: self.email.or(file.email),
            agree: self.agree || file.agree,
            directory: self.directory.or(file.directory),
            ca: self.ca.or(file.ca),
            challenge: self.challenge.or(file.challenge),
            eab_kid: self.eab_kid.or(file.eab_kid),
            eab_hmac: self.eab_hmac.or(file.eab_hmac),
        }
    }

    /// Whether somebody agreed to the authority's terms.
    pub fn is_on(&self) -> bool {
        self.email.is_some() || self.agree
    }

    /// What the types cannot say.
    pub fn check(&self) -> Result<(), ConfigError> {
        let refuse = |message: &str| Err(ConfigError::Usage(message.to_owned()));
        if !self.is_on() && (self.directory.is_some() || self.eab_kid.is_some()) {
            return refuse(
                "--acme-directory: say that you agree to the authority's terms, with --acme-email or --acme-agree",
            );
        }
        if self.directory.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            return refuse("--acme-directory: expected https://…");
        }
        if self.email.as_ref().is_some_and(|email| !email.contains('@') || email.contains(char::is_whitespace)) {
            return refuse("--acme-email: expected an e-mail address");
        }
        if self.eab_kid.is_some() != self.eab_hmac.is_some() {
            return refuse("--acme-eab-kid and its key, ROADSTEAD_ACME_EAB_HMAC, go together");
        }
        Ok(())
    }

    /// `None`: nobody may be asked.
    pub fn settings(&self) -> anyhow::Result<Option<Settings>> {
        self.check()?;
        if !self.is_on() {
            return Ok(None);
        }
        let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
        let external = self.eab_kid.clone().zip(self.eab_hmac.clone());
        Ok(Some(Settings {
            email: self.email.clone(),
            directory: self.directory.clone().unwrap_or_else(|| DIRECTORY_DEFAULT.to_owned()),
            ca: self.ca.as_ref().map(read).transpose()?,
            challenge: self.challenge.unwrap_or(CHALLENGE_DEFAULT),
            external_account: external.map(|(kid, hmac)| ExternalAccount { kid, hmac: hmac.reveal().to_owned() }),
        }))
    }

    /// As flags for a child; the key of an external account is not among them.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                arguments.extend([format!("--acme-{name}"), value]);
            }
        };
        flag("email", self.email.clone());
        flag("directory", self.directory.clone());
        flag("ca", self.ca.as_ref().map(|path| path.display().to_string()));
        flag("challenge", self.challenge.map(|challenge| challenge.name().to_owned()));
        flag("eab-kid", self.eab_kid.clone());
        if self.agree {
            arguments.push("--acme-agree".into());
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_before_somebody_agrees() {
        assert_eq!(Acme::default().settings().unwrap(), None);
        let url = Some("https://ca.example/dir".to_owned());
        let silent = Acme { directory: url.clone(), ..Acme::default() };
        assert!(silent.settings().unwrap_err().to_string().contains("--acme-agree"));
        let agreed = Acme { agree: true, ..silent };
        assert_eq!(agreed.settings().unwrap().unwrap().directory, "https://ca.example/dir");
        let with_email = Acme { email: Some("a@b.example".into()), ..Acme::default() };
        let settings = with_email.settings().unwrap().unwrap();
        assert_eq!((settings.directory.as_str(), settings.challenge), (DIRECTORY_DEFAULT, Challenge::Http01));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let on = Acme { agree: true, ..Acme::default() };
        for wrong in [
            Acme { directory: Some("http://ca.example".into()), ..on.clone() },
            Acme { email: Some("nobody".into()), ..on.clone() },
            Acme { eab_kid: Some("k".into()), ..on.clone() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_key_of_an_external_account_is_not_told_to_a_log() {
        let file = "agree = true\neab_kid = \"kid-1\"\neab_hmac = \"hidden\"";
        let acme: Acme = toml::from_str(file).unwrap();
        let told = format!("{acme:?} {:?}", acme.settings().unwrap());
        assert!(told.contains("kid-1") && !told.contains("hidden"), "{told}");
        assert_eq!(acme.settings().unwrap().unwrap().external_account.unwrap().hmac, "hidden");
    }

    #[test]
    fn flags_go_over_the_file_and_on_to_the_child() {
        let file: Acme = toml::from_str("email = \"a@b.example\"\nchallenge = \"tls-alpn-01\"").unwrap();
        let both = Acme { agree: true, email: Some("c@d.example".into()), ..Acme::default() }.over(file);
        let arguments = both.arguments().join(" ");
        assert_eq!(arguments, "--acme-email c@d.example --acme-challenge tls-alpn-01 --acme-agree");
    }
}
