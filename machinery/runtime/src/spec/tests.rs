use super::*;
use proptest::prelude::*;

fn shell(id: &str) -> ContainerSpec {
    ContainerSpec {
        id: id.to_owned(),
        host_name: "host".to_owned(),
        command: Command::Shell("true".to_owned()),
        ..ContainerSpec::default()
    }
}

#[test]
fn an_ordinary_container_is_accepted() {
    let mut spec = shell("s3pics.5c0e1b2a-1c3f-11e5-9d4e-56847afe9799");
    spec.ports = vec![PortForward { host_port: 31000, container_port: 8080, protocol: "tcp".to_owned() }];
    spec.volumes = vec![Volume { container_path: "/data".into(), host_path: "/srv".into(), read_only: true }];
    spec.check().unwrap();
}

#[test]
fn a_hostile_id_is_refused() {
    for id in ["", ".", "..", "../x", "a/b", "a\0b", "a b", "-rf", &"x".repeat(201)] {
        assert!(shell(id).check().is_err(), "{id:?}");
    }
}

#[test]
fn a_hostile_environment_is_refused() {
    for (name, value) in [("", "x"), ("A=B", "x"), ("A", "x\0y"), ("A\0", "x")] {
        let mut spec = shell("t");
        spec.env.insert(name.to_owned(), value.to_owned());
        assert!(spec.check().is_err(), "{name:?}={value:?}");
    }
    let mut spec = shell("t");
    spec.env.insert("BIG".to_owned(), "x".repeat(ARGUMENT_BYTES_MAX));
    assert!(spec.check().is_err());
}

#[test]
fn a_volume_cannot_climb_or_replace_the_root() {
    for path in ["/", "relative", "/a/../../etc", ""] {
        let mut spec = shell("t");
        spec.volumes = vec![Volume { container_path: path.into(), host_path: "/srv".into(), read_only: false }];
        assert!(spec.check().is_err(), "{path:?}");
    }
}

#[test]
fn nothing_to_run_is_refused() {
    let mut spec = shell("t");
    spec.command = Command::Image;
    assert!(spec.check().is_err());
    spec.command = Command::Arguments(Vec::new());
    assert!(spec.check().is_err());
    spec.image = Some("s3pics:2.0".to_owned());
    spec.check().unwrap();
}

#[test]
fn port_zero_and_odd_protocols_are_refused() {
    for (host_port, container_port, protocol) in [(0, 80, "tcp"), (31000, 0, "tcp"), (31000, 80, "sctp")] {
        let mut spec = shell("t");
        spec.ports = vec![PortForward { host_port, container_port, protocol: protocol.to_owned() }];
        assert!(spec.check().is_err(), "{host_port} {container_port} {protocol}");
    }
}

proptest! {
    #[test]
    fn an_accepted_id_is_one_plain_file_name(id in ".{0,40}") {
        if check_id(&id).is_ok() {
            let path = Path::new(&id);
            prop_assert_eq!(path.components().count(), 1);
            prop_assert_eq!(path.file_name().and_then(|name| name.to_str()), Some(id.as_str()));
        }
    }
}
