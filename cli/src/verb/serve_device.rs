//! `tandem serve-device`: a device for `--device remote:HOST:PORT`.

use crate::link::LinkKind;
use crate::options::{DeviceKind, DeviceOptions};
use crate::{Outcome, backend, hardware, stdout, token};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use std::net::TcpListener;
use std::time::Duration;
use tandem_driver::remote::{BusService, Clock, Event, Facts, Limits, Service, Token, serve};
use tandem_driver::{Bus, Bytes, DmaAddr, DmaBuf, identify};
use tandem_gpu::{Device as Gpu, Simulation};
use tandem_isa::HwConfig;
use tandem_runtime::remote::{BackendService, Bounds, Facts as BackendFacts, Kind};
use tandem_runtime::{Backend, CpuBackend, GpuBackend};
use tandem_sim::{FsimBus, Options as SimOptions};

/// Memory of a simulated accelerator where nothing says otherwise, and the least that there may be.
const MEMORY: u32 = 64 << 20;
const LEAST: u64 = 4096;

/// Options of `tandem serve-device`. `--token-file` is that of the clients.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    device: DeviceOptions,
    /// Where to listen; port 0 takes a free one. Only programs of this machine can connect unless another address is given, and
    /// then everybody on the way can read what they send: docs/guide/remote.md puts a tunnel around it.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7500")]
    listen: String,
    /// Memory of a simulated accelerator in bytes [default: 67108864]; of a GPU or a CPU, what the values and weights of a client may
    /// take [default: 8589934592].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(LEAST..))]
    memory: Option<u64>,
    /// Seconds that a client which has the device may say nothing before it is dropped.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = clap::value_parser!(u32).range(1..))]
    idle: u32,
}

/// An accelerator to export.
struct Exported {
    bus: Box<dyn Bus + Send>,
    memory: DmaBuf,
    clock: Clock,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let mut device = options.device.clone();
    let token = token::of(device.link.token_file.take().as_deref())?;
    device.check()?;
    device.check_whole()?;
    if device.device.kind().is_remote() {
        bail!("--device {}: it is exported already; clients connect to it themselves", device.device.name());
    }
    let name = device.device.name();
    let processor = |kind, model: String, backend: Box<dyn Backend>| {
        let bounds = Bounds::default();
        let bounds = Bounds { held: options.memory.unwrap_or(bounds.held), ..bounds };
        let simulated = if kind == Kind::SimulatedGpu { "a simulated " } else { "" };
        let what = format!("{name} ({simulated}{model})");
        let facts = BackendFacts { kind, name: name.clone(), model, most: 0 };
        export(options, Box::new(BackendService::new(backend, facts, bounds)), &what, &token)
    };
    let gpu = |kind, gpu: Gpu| processor(kind, gpu.facts().name.clone(), Box::new(GpuBackend::new(gpu)));
    match device.device.kind() {
        DeviceKind::Cuda(index) => gpu(Kind::Gpu, Gpu::cuda(*index, backend::compiler()?)?),
        DeviceKind::Ptx => gpu(Kind::SimulatedGpu, Gpu::sim(backend::compiler()?, Simulation::default())),
        DeviceKind::Cpu => processor(Kind::Cpu, backend::processor(), Box::new(CpuBackend)),
        DeviceKind::Fsim | DeviceKind::Tsim | DeviceKind::Link(_) => {
            let memory = options.memory.map_or(Ok(MEMORY), u32::try_from);
            let memory =
                memory.map_err(|_| anyhow!("--memory: an accelerator addresses {} bytes at most", u32::MAX))?;
            let config = hardware::resolve(device.hw(device.device.kind())?)?;
            let Exported { bus, memory, clock } = open(&device, &config, Bytes(memory.into()))?;
            let what = format!("{name} ({:#010x})", config.digest());
            let facts = Facts { name, config, memory, clock };
            export(options, Box::new(BusService::new(bus, facts)), &what, &token)
        }
    }
}

/// Opens an accelerator and reserves the memory that is exported.
fn open(device: &DeviceOptions, config: &HwConfig, bytes: Bytes) -> Result<Exported> {
    Ok(match device.device.kind() {
        DeviceKind::Tsim => {
            let (mut bus, _) = device.simulation.open(device.simulation.model(config)?, false, bytes.0)?;
            let memory = bus.map(DmaAddr(0), bytes)?;
            Exported { bus: Box::new(bus), memory, clock: Clock::Simulated }
        }
        DeviceKind::Link(link) => {
            let mut way = link.open(&device.link)?;
            identify(way.bus(), config).map_err(|e| anyhow!("{}: {e}", link.name()))?;
            let memory = way.memory();
            way.map(memory.addr, memory.bytes)?;
            let clock = if way.is_clocked() { Clock::Real } else { Clock::Estimated };
            Exported { bus: way.into_bus(), memory, clock }
        }
        DeviceKind::Fsim | DeviceKind::Cuda(_) | DeviceKind::Ptx | DeviceKind::Cpu => {
            let mut bus = FsimBus::with_options(config, SimOptions::default(), bytes.0);
            let memory = bus.map(DmaAddr(0), bytes)?;
            Exported { bus: Box::new(bus), memory, clock: Clock::Estimated }
        }
    })
}

/// Serves clients for ever. The first line of stdout says where they connect, stderr tells of them.
fn export(options: &Options, service: Box<dyn Service>, what: &str, token: &Token) -> Result<Outcome> {
    let refused = |e: std::io::Error| anyhow!("--listen {}: {e}; give another ADDRESS:PORT", options.listen);
    let listener = TcpListener::bind(&options.listen).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let limits = Limits { idle: Duration::from_secs(options.idle.into()), ..Limits::default() };
    let at = LinkKind::Remote(address.to_string()).name();
    stdout::emit(&format!("{what} is served: --device {at}\n"))?;
    serve(&listener, service, token, &limits, &|event| {
        stdout::complain(&match event {
            Event::Refused { peer, why } => format!("{peer} is refused: {why}"),
            Event::Joined { peer } => format!("{peer} has the device"),
            Event::Left { peer, why } => format!("{peer} has left the device: {why}"),
        });
    })
    .context(options.listen.clone())?;
    Ok(Outcome::Good)
}
