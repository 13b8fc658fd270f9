//! Looks at a space while there is nothing to say to it: whether it can be spoken to at all, and from when on it can again.
//!
//! Without this an operator would learn of an app that is not in its space by the first alert that does not arrive, and of the
//! mending by the next one. It asks in the course that a message would take, and ends with the first good answer: from
//! then on messages say how the space is.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::retry::{Course, Step};
use super::worker::{Transport, until};
use crate::time::Now;

/// After an answer that nobody understands.
const ODD: Duration = Duration::from_secs(60 * 60);

/// What a look at a space found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It can be spoken to.
    Well,
    /// Nothing gets through to it until somebody mends something.
    Trouble {
        /// What happened; holds no secret.
        why: String,
        /// What to mend.
        hint: String,
    },
}

/// Looks until the space is well, nobody can tell or `stop` is called, and says by `tell` what each look found; that ends it
/// by `false`. Where nothing could be found out, for the network is away, nothing is said.
///
/// `rng` gives 64 random bits a call, for jitter.
pub async fn look<T: Transport, Told: Future<Output = bool>>(
    transport: T,
    now: impl Fn() -> Now,
    tell: impl Fn(Found) -> Told,
    stop: CancellationToken,
    mut rng: impl FnMut() -> u64,
) {
    let (mut course, mut tries) = (Course::default(), 0);
    loop {
        let looked = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            looked = transport.look() => looked,
        };
        let Some(outcome) = looked else { return };
        let due = match course.step(outcome, &mut tries, now().tick, rng()) {
            Step::Delivered => {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    _ = tell(Found::Well) => {}
                }
                return;
            }
            // of a message it would mean something; here nobody knows what
            Step::Refused { .. } | Step::Gone { .. } => now().tick + ODD,
            Step::Again { due, .. } => due,
            Step::Paused { due, why, hint } => {
                let told = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    told = tell(Found::Trouble { why, hint }) => told,
                };
                if !told {
                    return;
                }
                due
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = until(due, &now, course.is_paused().then_some(&transport)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Outcome;
    use crate::message::OutboxRow;
    use crate::time::{Tick, Wall};
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// Answers with what the script says, then with nothing; notes when it was asked, in seconds.
    struct Script {
        outcomes: Mutex<VecDeque<Outcome>>,
        asked: Mutex<Vec<u64>>,
        begin: tokio::time::Instant,
        mended_at: Option<u64>,
    }

    impl Transport for &Script {
        async fn post(&self, _: &OutboxRow) -> Outcome {
            panic!("a look sends nothing")
        }

        async fn look(&self) -> Option<Outcome> {
            self.asked.lock().unwrap().push(self.begin.elapsed().as_secs());
            self.outcomes.lock().unwrap().pop_front()
        }

        async fn is_mended(&self) -> bool {
            self.mended_at == Some(self.begin.elapsed().as_secs())
        }
    }

    fn pause(why: &str) -> Outcome {
        let (why, hint) = (why.to_owned(), "mend it".to_owned());
        Outcome::Pause { why, hint, again: Duration::from_secs(300), chance: 0 }
    }

    fn well() -> Outcome {
        Outcome::Delivered { name: None, thread: None }
    }

    fn away() -> Outcome {
        Outcome::Unanswered { why: "no connection".into() }
    }

    /// What is told of a space that answers so, and the seconds at which it was asked.
    async fn told(outcomes: Vec<Outcome>, mended_at: Option<u64>) -> (Vec<String>, Vec<u64>) {
        let begin = tokio::time::Instant::now();
        let script =
            Script { outcomes: Mutex::new(outcomes.into()), asked: Mutex::default(), begin, mended_at };
        let found = Mutex::new(Vec::new());
        let tell = |f: Found| {
            found.lock().unwrap().push(match f {
                Found::Well => "well".to_owned(),
                Found::Trouble { why, .. } => why,
            });
            async { true }
        };
        let now = || Now { wall: Wall(0), tick: Tick(0) }.plus(begin.elapsed());
        look(&script, now, tell, CancellationToken::new(), || u64::MAX).await;
        (found.into_inner().unwrap(), script.asked.into_inner().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_space_that_is_well_is_asked_once() {
        assert_eq!(told(vec![well()], None).await, (vec!["well".to_owned()], vec![0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trouble_is_looked_at_until_it_is_over() {
        let (found, asked) = told(vec![pause("404"), pause("404"), well()], None).await;
        assert_eq!((found, asked), (["404", "404", "well"].map(str::to_owned).into(), vec![0, 300, 900]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_mended_on_this_host_is_looked_at_before_its_time() {
        let (found, asked) = told(vec![pause("401"), well()], Some(90)).await;
        assert_eq!((found, asked), (["401", "well"].map(str::to_owned).into(), vec![0, 90]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_starts_before_its_network_is_looks_again_and_says_nothing_of_it() {
        let (found, asked) = told(vec![away(), away(), pause("403"), well()], None).await;
        assert_eq!(found, ["403", "well"]);
        assert!(asked[2] <= 3, "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_understands_is_looked_at_again_in_an_hour() {
        let odd = Outcome::Refused { why: "422".into(), resend_plain: false };
        let (found, asked) = told(vec![pause("404"), odd, well()], None).await;
        assert_eq!((found, asked), (["404", "well"].map(str::to_owned).into(), vec![0, 300, 3900]));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_can_be_asked_it_ends() {
        assert_eq!(told(vec![], None).await, (vec![], vec![0]));
    }
}
