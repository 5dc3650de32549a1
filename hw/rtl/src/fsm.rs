//! Finite state machines: a register whose values have names.

use crate::module::Module;
use crate::net::{Net, clog2};

/// A state register with named states; the first is the state after reset.
#[derive(Clone, Copy)]
pub struct Fsm<'m> {
    module: &'m Module,
    state: Net<'m>,
    names: &'static [&'static str],
}

impl Module {
    /// A state machine in the first of its states.
    pub fn fsm(&self, name: &str, names: &'static [&'static str]) -> Fsm<'_> {
        let state = self.reg(name, clog2(names.len()), 0);
        let codes: Vec<String> = names.iter().enumerate().map(|(code, name)| format!("{code} {name}")).collect();
        self.comment(&format!("{name}: {}", codes.join(", ")));
        Fsm { module: self, state, names }
    }
}

impl<'m> Fsm<'m> {
    /// Whether the machine is in a state.
    #[track_caller]
    pub fn at(self, name: &str) -> Net<'m> {
        self.state.is(self.code(name))
    }

    /// Goes to a state with the next clock, under the conditions at hand.
    #[track_caller]
    pub fn go(self, name: &str) {
        self.state.set_to(self.code(name));
    }

    /// The state register.
    pub fn state(self) -> Net<'m> {
        self.state
    }

    #[track_caller]
    fn code(self, name: &str) -> u128 {
        match self.names.iter().position(|state| *state == name) {
            Some(code) => code as u128,
            None => panic!("{}: there is no state `{name}`", self.module.name()),
        }
    }
}
