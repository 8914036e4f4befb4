//! This version and the one before it understand each other: nothing that was said has another meaning now, and what is new
//! is passed over by those who do not know it. See `previous/README.md` for where the recordings come from.

use prost::Message;
use protocol::{AgentHello, Controllers, Desired, EdgeHello, FromAgent, FromEdge, TaskSpec, TaskState, ToAgent};
use protocol::{from_agent, from_edge, to_agent};
use protox::prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage, Value};
use std::path::Path;

const PACKAGE: &str = "roadstead.sessions.v0";
const AGENT_TO_CONTROLLER: &[u8] = include_bytes!("previous/agent-to-controller.frames");
const CONTROLLER_TO_AGENT: &[u8] = include_bytes!("previous/controller-to-agent.frames");
const EDGE_TO_CONTROLLER: &[u8] = include_bytes!("previous/edge-to-controller.frames");

fn schema(directory: &str) -> DescriptorPool {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let files = protox::compile([directory.join("sessions.proto")], [directory]).unwrap();
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

/// The messages of a recording.
fn read<M: Message + Default>(mut recording: &[u8]) -> Vec<M> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = recording.split_first_chunk::<5>() {
        let [compressed, length @ ..] = *head;
        assert_eq!(compressed, 0);
        let (message, rest) = rest.split_at(u32::from_be_bytes(length) as usize);
        messages.push(M::decode(message).unwrap());
        recording = rest;
    }
    assert!(recording.is_empty(), "a recording ends with a whole message");
    messages
}

/// Names, numbers, types and cardinalities: the wire format is made of nothing else.
fn shape(message: &MessageDescriptor) -> Vec<String> {
    let field = |field: protox::prost_reflect::FieldDescriptor| {
        let oneof = field.containing_oneof().map(|oneof| oneof.name().to_owned());
        format!("{} = {} {:?} {:?} in {oneof:?}", field.name(), field.number(), field.kind(), field.cardinality())
    };
    message.fields().map(field).collect()
}

#[test]
fn nothing_of_the_previous_version_was_changed_or_removed() {
    let (previous, current) = (schema("tests/previous"), schema("proto"));
    for old in previous.all_messages() {
        let new = current.get_message_by_name(old.full_name()).unwrap_or_else(|| panic!("{} is gone", old.full_name()));
        let fields = shape(&new);
        for field in shape(&old) {
            assert!(fields.contains(&field), "{}: {field} is not among {fields:#?}", old.full_name());
        }
    }
    for old in previous.all_enums() {
        let new = current.get_enum_by_name(old.full_name()).unwrap();
        for value in old.values() {
            assert_eq!(new.get_value(value.number()).unwrap().name(), value.name());
        }
    }
    for old in previous.services() {
        let new = current.get_service_by_name(old.full_name()).unwrap();
        for method in old.methods() {
            let same = new.methods().find(|candidate| candidate.full_name() == method.full_name()).unwrap();
            assert_eq!(same.input().full_name(), method.input().full_name());
            assert_eq!(same.output().full_name(), method.output().full_name());
            assert!(same.is_client_streaming() && same.is_server_streaming());
        }
    }
}

#[test]
fn a_recorded_agent_is_understood() {
    let said: Vec<FromAgent> = read(AGENT_TO_CONTROLLER);
    let Some(from_agent::Message::Hello(hello)) = &said[0].message else { panic!("{:?}", said[0]) };
    assert_eq!((hello.hostname.as_str(), hello.runtime.as_str()), ("node-1.example", "process"));
    assert_eq!(hello.resources.as_ref().unwrap().cpus_milli, 4_000);
    let reports = said.iter().filter_map(|said| match &said.message {
        Some(from_agent::Message::Reports(reports)) => Some(&reports.tasks),
        _ => None,
    });
    let states: Vec<Vec<TaskState>> = reports.map(|tasks| tasks.iter().map(|task| task.state()).collect()).collect();
    assert!(states.contains(&vec![TaskState::TaskRunning; 2]), "{states:?}");
    assert!(states.iter().flatten().any(|state| *state == TaskState::TaskKilled), "{states:?}");
    assert_eq!(states.last(), Some(&vec![]));
    let heartbeat = |said: &FromAgent| matches!(said.message, Some(from_agent::Message::Heartbeat(_)));
    assert!(said.iter().any(heartbeat));
    let log =
        |said: &FromAgent| matches!(&said.message, Some(from_agent::Message::Log(chunk)) if chunk.data == b"said\n");
    assert!(said.iter().any(log));
}

#[test]
fn a_recorded_controller_is_understood() {
    let said: Vec<ToAgent> = read(CONTROLLER_TO_AGENT);
    let sets: Vec<&Desired> = said.iter().filter_map(desired).collect();
    assert!(sets.is_sorted_by_key(|desired| desired.generation));
    assert!(sets.iter().all(|desired| desired.cluster_id == 0), "not known then");
    let two = sets.iter().find(|desired| desired.tasks.len() == 2).unwrap();
    assert!(two.tasks.iter().all(|task| task.env["GREETING"] == "hello" && task.checks[0].protocol == "HTTP"));
    assert!(sets.iter().any(|desired| desired.tasks.iter().any(|task| task.stop)));
    assert_eq!(sets.last().unwrap().tasks, []);
    let log =
        |said: &ToAgent| matches!(&said.message, Some(to_agent::Message::Log(request)) if request.stream == "stdout");
    assert!(said.iter().any(log));
}

fn desired(said: &ToAgent) -> Option<&Desired> {
    match &said.message {
        Some(to_agent::Message::Desired(desired)) => Some(desired),
        _ => None,
    }
}

#[test]
fn a_recorded_edge_is_understood() {
    let said: Vec<FromEdge> = read(EDGE_TO_CONTROLLER);
    let Some(from_edge::Message::Hello(hello)) = &said[0].message else { panic!("{:?}", said[0]) };
    assert!(hello.edge_id.starts_with("edge-1@") && hello.node_id.is_empty());
    let states: Vec<_> = said[1..]
        .iter()
        .map(|said| match &said.message {
            Some(from_edge::Message::State(state)) => (state.cluster_id, state.applied_revision),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(states.is_sorted() && states.iter().all(|(cluster_id, _)| *cluster_id == 0), "{states:?}");
}

/// A message of today as the previous version reads it.
fn as_read_before(name: &str, message: &impl Message) -> DynamicMessage {
    let descriptor = schema("tests/previous").get_message_by_name(&format!("{PACKAGE}.{name}")).unwrap();
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).unwrap()
}

#[test]
fn the_previous_version_reads_what_it_knows_and_passes_over_the_rest() {
    let task = TaskSpec { task_id: "t".to_owned(), cmd: Some("true".to_owned()), ..TaskSpec::default() };
    let desired = Desired { generation: 9, tasks: vec![task], cluster_id: u64::MAX };
    let read = as_read_before("ToAgent", &ToAgent { message: Some(to_agent::Message::Desired(desired)) });
    let desired = read.get_field_by_name("desired").unwrap().into_owned();
    let Value::Message(desired) = desired else { panic!("{desired:?}") };
    assert_eq!(desired.get_field_by_name("generation").unwrap().as_u64(), Some(9));
    assert_eq!(desired.get_field_by_name("tasks").unwrap().as_list().unwrap().len(), 1);

    // A message it does not know is an empty one, which it takes for a sign of life.
    let controllers = Controllers { addresses: vec!["a:1".to_owned()] };
    let read = as_read_before("ToAgent", &ToAgent { message: Some(to_agent::Message::Controllers(controllers)) });
    assert!(read.descriptor().fields().all(|field| !read.has_field(&field)));

    let hello = AgentHello { node_id: "n".to_owned(), generation: 3, ..AgentHello::default() };
    let read = as_read_before("FromAgent", &FromAgent { message: Some(from_agent::Message::Hello(hello)) });
    assert!(read.has_field_by_name("hello"));
    let hello = EdgeHello { edge_id: "e".to_owned(), node_id: "n".to_owned(), ..EdgeHello::default() };
    let read = as_read_before("FromEdge", &FromEdge { message: Some(from_edge::Message::Hello(hello)) });
    assert!(read.has_field_by_name("hello"));
}
