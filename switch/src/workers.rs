//! The control thread's line to the workers.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::command::{Answer, Command, Event};
use crate::worker::Channels;

/// How long a worker may take to answer. It looks at its commands every round and sleeps 100 µs at
/// most, so beyond this it is not slow but stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// Events that may wait; there is at most one per vport.
const EVENTS: usize = 4096;

/// A worker does not answer: a defect, from which there is no way back.
#[derive(Debug, thiserror::Error)]
#[error("the worker on lcore {lcore} does not answer")]
pub struct Stuck {
    /// Its lcore.
    pub lcore: u32,
}

struct Line {
    lcore: u32,
    commands: Sender<Command>,
    answers: Receiver<Answer>,
}

/// All workers.
pub struct Workers {
    lines: Vec<Line>,
    events: Receiver<Event>,
    sender: Sender<Event>,
}

impl Default for Workers {
    fn default() -> Self {
        let (sender, events) = bounded(EVENTS);
        Self {
            lines: Vec::new(),
            events,
            sender,
        }
    }
}

impl Workers {
    /// Adds a worker that runs on `lcore`; returns its ends of the channels.
    pub fn add(&mut self, lcore: u32) -> Channels {
        // One command is under way at a time.
        let (command_sender, commands) = bounded(1);
        let (answer_sender, answers) = bounded(1);
        self.lines.push(Line {
            lcore,
            commands: command_sender,
            answers,
        });
        Channels {
            commands,
            answers: answer_sender,
            events: self.sender.clone(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// True before the first was added.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Their lcores, in order.
    pub fn lcores(&self) -> impl Iterator<Item = u32> + '_ {
        self.lines.iter().map(|line| line.lcore)
    }

    /// Gives each worker, by its number, a command and waits for all answers, in order.
    ///
    /// # Errors
    /// [`Stuck`].
    pub fn ask(&self, mut command: impl FnMut(usize) -> Command) -> Result<Vec<Answer>, Stuck> {
        for (worker, line) in self.lines.iter().enumerate() {
            let sent = line.commands.send_timeout(command(worker), PATIENCE);
            sent.map_err(|_| Stuck { lcore: line.lcore })?;
        }
        self.lines
            .iter()
            .map(|line| {
                let answer = line.answers.recv_timeout(PATIENCE);
                answer.map_err(|_| Stuck { lcore: line.lcore })
            })
            .collect()
    }

    /// Tells all to end; they do so after the round they are in.
    pub fn stop(&self) {
        for line in &self.lines {
            // One that is gone has ended.
            let _ = line.commands.send_timeout(Command::Stop, PATIENCE);
        }
    }

    /// What a worker has said unasked.
    pub fn event(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }
}
