//! Whether the edges answer a challenge: an authority that asks one which does not know it yet counts that as a failure, and
//! takes few of them.

use scheduler::World;
use store::Revision;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Behind {
    #[error("no edge is there to answer the authority")]
    NoEdge,
    #[error("not every edge can answer the authority yet: {} cannot", .0.join(", "))]
    Edges(Vec<String>),
}

/// Whether every live edge answers what was written at `revision`. The leader forgets edges that are gone.
pub(super) fn answer(world: &World, revision: Revision) -> Result<(), Behind> {
    if world.edges.is_empty() {
        return Err(Behind::NoEdge);
    }
    let behind = world.edges.iter().filter(|(_, edge)| edge.challenges_revision < revision);
    let behind: Vec<String> = behind.map(|(name, _)| name.clone()).collect();
    if behind.is_empty() { Ok(()) } else { Err(Behind::Edges(behind)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scheduler::EdgeRecord;

    #[test]
    fn nobody_is_asked_to_look_before_every_edge_answers() {
        let mut world = World::default();
        assert_eq!(answer(&world, 1), Err(Behind::NoEdge));
        let edge = |challenges_revision| EdgeRecord { challenges_revision, ..EdgeRecord::default() };
        world.edges.insert("a".into(), edge(7));
        world.edges.insert("b".into(), edge(6));
        assert_eq!(answer(&world, 7), Err(Behind::Edges(vec!["b".into()])));
        assert_eq!(answer(&world, 6), Ok(()));
        // One that is not heard of yet after a change of leader, or that knows no challenges.
        world.edges.insert(crate::leader::UNKNOWN_EDGES.to_owned(), EdgeRecord::default());
        assert!(answer(&world, 6).is_err());
    }
}
