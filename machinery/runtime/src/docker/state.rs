//! What the daemon says of a container, in our words.

use crate::{Exit, How, Status};
use bollard::models::{ContainerState, ContainerStateStatusEnum};

pub(super) fn status(state: &ContainerState) -> Status {
    let started_at_ms = state.started_at.as_deref().map_or(0, unix_ms);
    let how = match state.status {
        Some(ContainerStateStatusEnum::CREATED) => How::NeverStarted,
        // The daemon could not get rid of it, and does not know how it ended.
        Some(ContainerStateStatusEnum::DEAD | ContainerStateStatusEnum::REMOVING) => How::Lost,
        Some(ContainerStateStatusEnum::EXITED) => {
            How::Code(state.exit_code.and_then(|code| code.try_into().ok()).unwrap_or(-1))
        }
        _ => return Status::Running { started_at_ms },
    };
    let mut message = state.error.clone().unwrap_or_default();
    if state.oom_killed == Some(true) {
        message = "out of memory".to_owned();
    }
    Status::Ended(Exit { how, message, started_at_ms })
}

/// A container that never started has year 1.
fn unix_ms(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().map_or(0, |time| time.as_millisecond().max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: ContainerStateStatusEnum) -> ContainerState {
        ContainerState {
            status: Some(status),
            exit_code: Some(7),
            started_at: Some("2015-01-11T12:44:39.123456789Z".to_owned()),
            ..ContainerState::default()
        }
    }

    #[test]
    fn the_daemons_states_are_read() {
        let started_at_ms = 1_420_980_279_123;
        assert_eq!(status(&state(ContainerStateStatusEnum::RUNNING)), Status::Running { started_at_ms });
        let exit = Exit { how: How::Code(7), message: String::new(), started_at_ms };
        assert_eq!(status(&state(ContainerStateStatusEnum::EXITED)), Status::Ended(exit));
        let mut created = state(ContainerStateStatusEnum::CREATED);
        created.started_at = Some("0001-01-01T00:00:00Z".to_owned());
        created.error = Some("port is taken".to_owned());
        let exit = Exit { how: How::NeverStarted, message: "port is taken".to_owned(), started_at_ms: 0 };
        assert_eq!(status(&created), Status::Ended(exit));
    }
}
