//! Blocks of the framework around modules of the builder.
//!
//! rust-hdl carries the structure: [`Bus`] ports, [`leaf!`] blocks, wiring kernels, the check that every input is driven. What
//! a block does is the body of a [`tandem_rtl::Module`].

use std::marker::PhantomData;

use rust_hdl::core::constraint::PinConstraint;
use rust_hdl::prelude::*;
use tandem_rtl::Module;

/// A port whose width is a value, not a type.
#[derive(Clone, Debug)]
pub struct Bus<D: Direction> {
    /// What a wiring kernel assigns.
    pub next: Wire,
    width: usize,
    id: usize,
    driven: bool,
    direction: PhantomData<D>,
}

/// The value of a bus in a wiring kernel: it can be passed on and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wire;

impl<D: Direction> Bus<D> {
    /// A port of this many bits.
    pub fn new(width: u32) -> Self {
        let id = rust_hdl::core::signal::get_signal_id();
        Bus { next: Wire, width: width as usize, id, driven: false, direction: PhantomData }
    }

    /// What a wiring kernel reads.
    pub fn val(&self) -> Wire {
        Wire
    }
}

impl<D: Direction> Atom for Bus<D> {
    fn bits(&self) -> usize {
        self.width
    }

    fn connected(&self) -> bool {
        self.driven
    }

    fn changed(&self) -> bool {
        false
    }

    fn kind(&self) -> AtomKind {
        D::KIND
    }

    fn descriptor(&self) -> TypeDescriptor {
        TypeDescriptor { name: format!("Bits::<{}>", self.width), kind: TypeKind::Bits(self.width) }
    }

    fn vcd(&self) -> VCDValue {
        VCDValue::Vector(Vec::new())
    }

    fn id(&self) -> usize {
        self.id
    }

    fn verilog(&self) -> VerilogLiteral {
        false.into()
    }

    fn constraints(&self) -> Vec<PinConstraint> {
        Vec::new()
    }
}

impl<D: Direction> Logic for Bus<D> {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.driven = true;
    }
}

impl<D: Direction> Block for Bus<D> {
    fn connect_all(&mut self) {}

    fn update_all(&mut self) {}

    fn has_changed(&self) -> bool {
        false
    }

    fn accept(&self, name: &str, probe: &mut dyn Probe) {
        probe.visit_atom(name, self);
    }
}

/// The width of a port, by name and direction.
///
/// # Panics
/// Where the module has no such port.
pub(crate) fn port_width(module: &Module, name: &str, input: bool) -> u32 {
    let found = module.ports().into_iter().find(|port| port.name == name && port.input == input);
    found.unwrap_or_else(|| panic!("{} has no such port: {name}", module.name())).width
}

/// Declares a block of the framework with the ports of a module; widths come from the module. What the module instantiates is
/// printed by the top, once, because several blocks share it.
macro_rules! leaf {
    ($(#[$meta:meta])* $Name:ident { in $($input:ident)*; out $($output:ident)*; }) => {
        $(#[$meta])*
        #[derive(LogicBlock)]
        pub(crate) struct $Name {
            pub clock: Bus<In>,
            pub reset: Bus<In>,
            $(pub $input: Bus<In>,)*
            $(pub $output: Bus<Out>,)*
            _body: String,
        }

        impl $Name {
            pub fn new(module: &tandem_rtl::Module) -> Self {
                let names = [$(stringify!($input),)* $(stringify!($output),)*];
                for port in module.ports() {
                    assert!(names.contains(&port.name.as_str()), "{} does not wire port {}", stringify!($Name), port.name);
                }
                Self {
                    clock: Bus::new(1),
                    reset: Bus::new(1),
                    $($input: Bus::new($crate::block::port_width(module, stringify!($input), true)),)*
                    $($output: Bus::new($crate::block::port_width(module, stringify!($output), false)),)*
                    _body: module.body(),
                }
            }
        }

        impl Logic for $Name {
            fn update(&mut self) {}

            fn connect(&mut self) {
                $(self.$output.connect();)*
            }

            fn hdl(&self) -> Verilog {
                Verilog::Wrapper(Wrapper { code: self._body.clone(), cores: String::new() })
            }
        }
    };
}
pub(crate) use leaf;
