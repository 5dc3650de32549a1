//! `tandem board serve`: a device for `--device tcp:HOST:PORT`.

use crate::options::{DeviceKind, DeviceOptions};
use crate::{Outcome, hardware, stdout};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use std::net::TcpListener;
use tandem_driver::serial::{FrameServer, Served, relay, serve};
use tandem_driver::{Bus, Bytes, DmaAddr, DmaBuf};
use tandem_sim::{FsimBus, Options as SimOptions};

/// Options of `tandem board serve`.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    device: DeviceOptions,
    /// Where to listen. Whoever can connect can use the device, so only programs of this machine can unless another address is
    /// given; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7400")]
    listen: String,
    /// Memory of a simulated device in bytes.
    #[arg(long, value_name = "BYTES", default_value = "67108864", value_parser = clap::value_parser!(u32).range(4096..))]
    memory: u32,
    /// End after so many clients [default: never].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    clients: Option<u64>,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    options.device.check()?;
    options.device.check_whole()?;
    let bytes = Bytes(options.memory.into());
    match options.device.device.kind() {
        other @ (DeviceKind::Cpu | DeviceKind::Cuda(_) | DeviceKind::Ptx) => {
            bail!("--device {}: only a VTA is exported; use fsim, tsim or a board", other.name())
        }
        DeviceKind::Fsim => {
            let config = hardware::resolve(options.device.hw(options.device.device.kind())?)?;
            let mut bus = FsimBus::with_options(&config, SimOptions::default(), bytes.0);
            let memory = bus.map(DmaAddr(0), bytes)?;
            export(options, bus, memory)
        }
        DeviceKind::Tsim => {
            let config = hardware::resolve(options.device.hw(options.device.device.kind())?)?;
            let simulation = &options.device.simulation;
            let (mut bus, _) = simulation.open(simulation.model(&config)?, false, bytes.0)?;
            let memory = bus.map(DmaAddr(0), bytes)?;
            export(options, bus, memory)
        }
        DeviceKind::Link(link @ crate::link::LinkKind::Board(_)) => {
            // The frames of a board are relayed as they are, noise included: both ends check them.
            let mut port = link.port(&options.device.link)?;
            let listener = listen(options, &port.name())?;
            relay(&listener, &mut port, told(options)).context(options.listen.clone())?;
            Ok(Outcome::Good)
        }
        DeviceKind::Link(link) => {
            let mut link = link.open(&options.device.link)?;
            let memory = link.memory();
            link.map(memory.addr, memory.bytes)?;
            export(options, link.into_bus(), memory)
        }
    }
}

fn export<B: Bus>(options: &Options, bus: B, memory: DmaBuf) -> Result<Outcome> {
    let listener = listen(options, &options.device.device.name())?;
    serve(&listener, &mut FrameServer::new(bus, memory), told(options)).context(options.listen.clone())?;
    Ok(Outcome::Good)
}

/// The first line of stdout says where clients connect.
fn listen(options: &Options, device: &str) -> Result<TcpListener> {
    let refused = |e: std::io::Error| anyhow!("--listen {}: {e}; give another ADDRESS:PORT", options.listen);
    let listener = TcpListener::bind(&options.listen).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    stdout::emit(&format!("{device} is served: --device tcp:{address}\n"))?;
    Ok(listener)
}

/// Tells how the service of each client ended, and counts them.
fn told(options: &Options) -> impl FnMut(&Served) -> bool {
    let mut left = options.clients;
    move |served| {
        stdout::complain(&match served {
            Served::ClientLeft => "a client has left".to_owned(),
            Served::DeviceFailed(why) => format!("a client was cut off: {why}"),
        });
        left = left.map(|left| left.saturating_sub(1));
        left != Some(0)
    }
}
