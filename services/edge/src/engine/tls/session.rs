//! rustls's state machine, for either side of a connection: one step at a time, of reading or of writing.

use super::io_error;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{AppDataRecord, ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{CommonState, Error};
use std::io::{self, ErrorKind};

/// Boxed with the rest of [`super::Tls`].
pub(super) enum Session {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What is left to do after a step of reading.
pub(super) enum Step {
    More,
    /// The peer has to say more.
    Waits,
    Over,
}

/// What is to be sealed.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    Data(&'a [u8]),
    End,
}

impl Session {
    pub fn is_server(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    pub fn common(&self) -> &CommonState {
        match self {
            Self::Server(session) => session,
            Self::Client(session) => session,
        }
    }

    /// Looks at what came: how much of it is done with, and what follows. What was opened goes into `sink`; what the session
    /// says itself is put into `said`.
    pub fn read(
        &mut self,
        came: &mut [u8],
        sink: &mut impl FnMut(&[u8]),
        said: &mut Vec<u8>,
    ) -> (usize, Result<Step, Error>) {
        match self {
            Self::Server(session) => read(session.process_tls_records(came), sink, said),
            Self::Client(session) => read(session.process_tls_records(came), sink, said),
        }
    }

    /// Seals: how much was put into `out`; `None` when the session had something to say before, which is put into `said`.
    /// `kept` is what came of a record.
    pub fn seal(
        &mut self,
        kept: &mut [u8],
        what: What<'_>,
        out: &mut [u8],
        said: &mut Vec<u8>,
    ) -> io::Result<Option<usize>> {
        match self {
            Self::Server(session) => seal(session.process_tls_records(kept), what, out, said),
            Self::Client(session) => seal(session.process_tls_records(kept), what, out, said),
        }
    }
}

fn read<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    sink: &mut impl FnMut(&[u8]),
    said: &mut Vec<u8>,
) -> (usize, Result<Step, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(AppDataRecord { discard: more, payload, .. })) => {
                    discard += more;
                    sink(payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::More),
            }
        },
        Ok(ConnectionState::EncodeTlsData(message)) => say(message, said).map(|()| Step::More),
        Ok(ConnectionState::TransmitTlsData(written)) => {
            written.done();
            Ok(Step::More)
        }
        Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Ok(Step::Waits),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Step::Over),
        // Early data is not offered, so there is none.
        Ok(_) => Err(Error::General("an unknown state".to_owned())),
        Err(error) => Err(error),
    };
    (discard, step)
}

fn seal<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    what: What<'_>,
    out: &mut [u8],
    said: &mut Vec<u8>,
) -> io::Result<Option<usize>> {
    match status.state.map_err(io_error)? {
        ConnectionState::WriteTraffic(mut traffic) => {
            let sealed = match what {
                What::Data(plain) => traffic.encrypt(plain, out),
                What::End => traffic.queue_close_notify(out),
            };
            sealed.map(Some).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
        }
        ConnectionState::EncodeTlsData(message) => say(message, said).map(|()| None).map_err(io_error),
        ConnectionState::TransmitTlsData(written) => {
            written.done();
            Ok(None)
        }
        _ => Err(ErrorKind::NotConnected.into()),
    }
}

fn say<Data>(mut message: EncodeTlsData<'_, Data>, said: &mut Vec<u8>) -> Result<(), Error> {
    let from = said.len();
    if let Err(EncodeError::InsufficientSize(needed)) = message.encode(&mut []) {
        said.resize(from + needed.required_size, 0);
        let encoded = message.encode(&mut said[from..]);
        encoded.map_err(|error| Error::General(error.to_string()))?;
    }
    Ok(())
}
