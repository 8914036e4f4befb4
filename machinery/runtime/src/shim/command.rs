//! The task's process: arguments, environment, user and working directory, from the specification over the image.

use crate::process::record::TaskFile;
use crate::{Command as What, ImageConfig};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Docker's default.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most bytes of `/etc/passwd` or `/etc/group` that are searched.
const ACCOUNTS_BYTES_MAX: u64 = 1 << 20;

/// Everything `exec` needs, decided before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Process {
    arguments: Vec<String>,
    environment: BTreeMap<String, String>,
    working_directory: PathBuf,
    /// `None`: as who we are.
    user: Option<User>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
    home: Option<String>,
}

impl Process {
    /// The task itself. To be called inside its root directory, where its `/etc/passwd` is.
    pub(crate) fn task(task: &TaskFile, sandbox: &Path, may_switch_user: bool) -> io::Result<Self> {
        let arguments = arguments(&task.container.command, task.image.as_ref().map(|image| &image.config))?;
        Self::new(task, arguments, sandbox, may_switch_user)
    }

    /// A health check's command, in the task's place.
    pub(crate) fn shell(task: &TaskFile, line: &str, sandbox: &Path, may_switch_user: bool) -> io::Result<Self> {
        Self::new(task, shell(line), sandbox, may_switch_user)
    }

    fn new(task: &TaskFile, arguments: Vec<String>, sandbox: &Path, may_switch_user: bool) -> io::Result<Self> {
        let image = task.image.as_ref().map(|image| &image.config);
        let name = task.container.user.as_deref().or(image.map(|image| image.user.as_str())).unwrap_or_default();
        // An ordinary user has one id to give: the task is root inside and nobody else outside.
        let user = if name.is_empty() || !may_switch_user { None } else { Some(find_user(name)?) };
        let working_directory = match image {
            None => sandbox.to_owned(),
            Some(image) if image.working_dir.is_empty() => PathBuf::from("/"),
            Some(image) => Path::new("/").join(&image.working_dir),
        };
        let mut environment = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
        let home = user.as_ref().and_then(|user| user.home.clone()).unwrap_or_else(|| "/root".to_owned());
        environment.insert("HOME".to_owned(), home);
        environment.insert("HOSTNAME".to_owned(), task.container.host_name.clone());
        for variable in image.into_iter().flat_map(|image| &image.env) {
            if let Some((name, value)) = variable.split_once('=').filter(|(name, _)| !name.is_empty()) {
                environment.insert(name.to_owned(), value.to_owned());
            }
        }
        environment.extend(task.container.env.clone());
        Ok(Self { arguments, environment, working_directory, user })
    }

    pub(crate) fn command(&self) -> io::Result<Command> {
        let (program, arguments) = self
            .arguments
            .split_first()
            .ok_or_else(|| io::Error::other("neither the app nor its image names a command"))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(&self.environment).current_dir(&self.working_directory);
        if let Some(user) = &self.user {
            command.uid(user.uid).gid(user.gid);
        }
        Ok(command)
    }

    /// The working directory of a task without an image is made for it: it must be able to write there.
    pub(crate) fn own(&self, sandbox: &Path) -> io::Result<()> {
        match &self.user {
            Some(user) => std::os::unix::fs::chown(sandbox, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    }

    pub(crate) fn program(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    pub(crate) fn working_directory(&self) -> &Path {
        &self.working_directory
    }
}

fn arguments(command: &What, image: Option<&ImageConfig>) -> io::Result<Vec<String>> {
    let entrypoint = image.map(|image| image.entrypoint.clone()).unwrap_or_default();
    let arguments = match command {
        What::Shell(line) => shell(line),
        What::Arguments(arguments) => [entrypoint, arguments.clone()].concat(),
        What::Image => [entrypoint, image.map(|image| image.cmd.clone()).unwrap_or_default()].concat(),
    };
    if arguments.is_empty() {
        Err(io::Error::other("neither the app nor its image names a command"))
    } else {
        Ok(arguments)
    }
}

fn shell(line: &str) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()]
}

/// `name`, `uid`, either with `:group` or `:gid`, by the accounts of the root directory we are in.
fn find_user(text: &str) -> io::Result<User> {
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let passwd = accounts(Path::new("/etc/passwd"))?;
    let mut user = lookup_user(&passwd, name)
        .ok_or_else(|| io::Error::other(format!("user {name:?} is not in the image's /etc/passwd")))?;
    if let Some(group) = group {
        let groups = accounts(Path::new("/etc/group"))?;
        user.gid = lookup_group(&groups, group)
            .ok_or_else(|| io::Error::other(format!("group {group:?} is not in the image's /etc/group")))?;
    }
    Ok(user)
}

fn accounts(path: &Path) -> io::Result<String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.is_file() || metadata.len() > ACCOUNTS_BYTES_MAX => {
            Err(io::Error::other(format!("{} is no file of accounts", path.display())))
        }
        Ok(_) => Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned()),
    }
}

/// `name:password:uid:gid:comment:home:shell` (passwd(5)). A number that has no entry is taken as it is, with group 0, as
/// Docker does.
fn lookup_user(passwd: &str, name: &str) -> Option<User> {
    let number: Option<u32> = name.parse().ok();
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [entry, _, uid, gid, _, home, ..] = fields.as_slice() else { continue };
        let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else { continue };
        if *entry == name || Some(uid) == number {
            return Some(User { uid, gid, home: Some((*home).to_owned()) });
        }
    }
    number.map(|uid| User { uid, gid: 0, home: Some("/".to_owned()) })
}

/// `name:password:gid:members` (group(5)).
fn lookup_group(groups: &str, name: &str) -> Option<u32> {
    let entry = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        found.then(|| fields.nth(1)?.parse().ok())?
    });
    entry.or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\nwww-data:x:33:33:www:/var/www:/bin/false\n";

    #[test]
    fn users_are_found_by_name_and_number() {
        assert_eq!(lookup_user(PASSWD, "www-data").unwrap().uid, 33);
        assert_eq!(lookup_user(PASSWD, "33").unwrap().home.as_deref(), Some("/var/www"));
        assert_eq!(lookup_user(PASSWD, "1000"), Some(User { uid: 1000, gid: 0, home: Some("/".to_owned()) }));
        assert_eq!(lookup_user(PASSWD, "nobody"), None);
        assert_eq!(lookup_user(PASSWD, "-1"), None);
    }

    #[test]
    fn groups_are_found_by_name_and_number() {
        let groups = "root:x:0:\nbroken\nstaff:x:50:a,b\n";
        assert_eq!(lookup_group(groups, "staff"), Some(50));
        assert_eq!(lookup_group(groups, "7"), Some(7));
        assert_eq!(lookup_group(groups, "none"), None);
    }

    #[test]
    fn arguments_follow_dockers_rules() {
        let image = ImageConfig { entrypoint: vec!["/e".into()], cmd: vec!["c".into()], ..ImageConfig::default() };
        assert_eq!(arguments(&What::Image, Some(&image)).unwrap(), ["/e", "c"]);
        assert_eq!(arguments(&What::Arguments(vec!["a".into()]), Some(&image)).unwrap(), ["/e", "a"]);
        assert_eq!(arguments(&What::Shell("x".into()), Some(&image)).unwrap(), ["/bin/sh", "-c", "x"]);
        assert_eq!(arguments(&What::Arguments(vec!["a".into()]), None).unwrap(), ["a"]);
        assert!(arguments(&What::Image, Some(&ImageConfig::default())).is_err());
    }
}
