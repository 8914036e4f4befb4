/// Why the lab could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("network namespaces need root")]
    NotRoot,
    #[error("the program `{program}` is missing (Debian: apt-get install {package})")]
    Missing { program: &'static str, package: &'static str },
    #[error("`{name}` cannot name a part of the lab: 1 to {max} lower-case letters or digits", max = crate::names::PART_MAX)]
    Name { name: String },
    #[error("`{command}` failed: {said}")]
    Command { command: String, said: String },
    #[error("{what}")]
    Io { what: String, source: std::io::Error },
    #[error("processes of node {node} do not end: {pids:?}")]
    Unkillable { node: String, pids: Vec<i32> },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
