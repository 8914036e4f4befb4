//! Why a router changed its state, or did not: one sentence for people.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// What the store had said when a silent holder was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceWord {
    /// There is no store to ask.
    NoStore,
    /// It granted the address.
    Granted,
    /// It could not be asked.
    Unknown,
    /// It did not answer in time.
    Late,
}

/// Why. `Display` is a whole sentence without its capital and its period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Started, and listens first.
    Started { priority: u8 },
    /// Started with priority 255: the owner of the address does not wait.
    Owner,
    /// The master-down timer ran out.
    HolderSilent { holder: Option<IpAddr>, silence: Duration, fence: FenceWord },
    /// The holder said priority 0.
    HolderResigned { holder: IpAddr },
    /// The holder's priority is lower than ours, and we preempt.
    Preempts { holder: IpAddr, theirs: u8, ours: u8 },
    /// A holder with a higher priority speaks.
    HigherPriority { holder: IpAddr, theirs: u8, ours: u8 },
    /// A holder with our priority and a higher primary address speaks.
    HigherAddress { holder: IpAddr, priority: u8 },
    /// This router was not run for so long that others have taken over.
    Slept { silence: Duration, bound: Duration },
    /// This backup was not run for so long that it cannot know what it missed.
    Overslept { late: Duration },
    /// The store says that another node holds the addresses.
    Fenced { holder: String },
    /// Nothing comes in, and the store does not answer: whoever has our address in its tables reaches nobody.
    Isolated { silence: Duration },
    /// Another holder does not give way to our advertisements, and the store does not answer: ours do not arrive.
    Unheard { holder: IpAddr, theirs: u8, ours: u8, contested: Duration },
    /// Another node is to have the addresses, though nothing is wrong with this one.
    HandedOver { to: String },
    /// Health or an operator forbids this node to hold the addresses.
    Unfit,
    /// The interface is down.
    LinkDown,
    /// An orderly stop.
    Stopped,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Started { priority } => write!(f, "started with priority {priority}, listens before it speaks"),
            Cause::Owner => f.write_str("started as the owner of the address (priority 255)"),
            Cause::HolderSilent { holder, silence, fence } => {
                match holder {
                    Some(holder) => write!(f, "heard nothing from {holder} for {}", Milliseconds(*silence))?,
                    None => write!(f, "heard no holder for {}", Milliseconds(*silence))?,
                }
                match fence {
                    FenceWord::NoStore => Ok(()),
                    FenceWord::Granted => f.write_str(", and the store granted the address"),
                    FenceWord::Unknown => f.write_str(", and the store cannot be asked"),
                    FenceWord::Late => f.write_str(", and the store did not answer in time"),
                }
            }
            Cause::HolderResigned { holder } => write!(f, "{holder} gave the address up (priority 0)"),
            Cause::Preempts { holder, theirs, ours } => {
                write!(f, "takes over from {holder}: priority {ours} is higher than {theirs}")
            }
            Cause::HigherPriority { holder, theirs, ours } => {
                write!(f, "{holder} holds the address with priority {theirs}, ours is {ours}")
            }
            Cause::HigherAddress { holder, priority } => {
                write!(f, "{holder} holds the address with the same priority {priority} and a higher primary address")
            }
            Cause::Slept { silence, bound } => write!(
                f,
                "slept: said nothing for {}, and others take over after {}",
                Milliseconds(*silence),
                Milliseconds(*bound)
            ),
            Cause::Overslept { late } => {
                write!(f, "slept: its timer came {} late, so it listens once more", Milliseconds(*late))
            }
            Cause::Fenced { holder } => write!(f, "the store says that {holder} holds the address"),
            Cause::Isolated { silence } => write!(
                f,
                "nothing was received for {} and the store does not answer: this node is cut off",
                Seconds(*silence)
            ),
            Cause::Unheard { holder, theirs, ours, contested } => write!(
                f,
                "{holder} holds the address with priority {theirs} though ours is {ours}, for {}, and the store does not \
                 answer: this node is not heard",
                Seconds(*contested)
            ),
            Cause::HandedOver { to } => write!(f, "handed the address over to {to}, which asked for it"),
            Cause::Unfit => f.write_str("this node is not fit to hold the address (priority 0)"),
            Cause::LinkDown => f.write_str("the interface is down"),
            Cause::Stopped => f.write_str("stopped in an orderly way"),
        }
    }
}

struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0.as_millis())
    }
}

/// To a tenth.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}
