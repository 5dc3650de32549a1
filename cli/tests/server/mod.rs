//! A server of `tandem serve-device` in a process of its own, and what may be between it and its clients.
#![allow(dead_code, reason = "not every test file needs all of it")]

use crate::command::Folder;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A server of `tandem serve-device`, killed when this is dropped.
pub struct Server {
    child: Arc<Mutex<Child>>,
    /// Where it listens.
    address: String,
    pub token: String,
    pub folder: Folder,
}

impl Server {
    /// `name` is unique among tests.
    pub fn new(name: &str, arguments: &[&str]) -> Server {
        Server::with(&[], name, arguments)
    }

    /// The same with variables in its environment.
    pub fn with(variables: &[(&str, &str)], name: &str, arguments: &[&str]) -> Server {
        let folder = Folder::new(name);
        let token = folder.file("token", "a token for these tests alone\n");
        let log = std::fs::File::create(folder.path("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tandem"));
        command.args(["serve-device", "--listen", "127.0.0.1:0", "--token-file", &token]).args(arguments);
        let mut child = command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains(" is served: --device remote:127.0.0.1:"), "{line}");
        let address = line.trim().rsplit_once("remote:").unwrap().1.to_owned();
        Server { child: Arc::new(Mutex::new(child)), address, token, folder }
    }

    pub fn device(&self) -> String {
        format!("remote:{}", self.address)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path("log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        // It may have been killed already.
        let _ = child.kill();
        child.wait().unwrap();
    }
}

/// What happens once so many replies have passed a relay.
#[derive(Clone, Copy, PartialEq)]
pub enum Fate {
    /// The server's process is killed.
    Killed,
    /// Nothing passes any more, and nobody is told.
    Muted,
}

/// A relay between a client and a server, and where it listens. It counts the requests that passed.
pub fn relay(server: &Server, replies: u64, fate: Fate) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("remote:{}", listener.local_addr().unwrap());
    let (address, child, passed) = (server.address.clone(), Arc::clone(&server.child), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&passed);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let Ok(mut upstream) = TcpStream::connect(&address) else { continue };
            let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
            let (child, counted) = (Arc::clone(&child), Arc::clone(&counted));
            std::thread::spawn(move || {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(count @ 1..) = upstream.read(&mut bytes) {
                    let before = counted.fetch_add(1, Ordering::Relaxed);
                    if before >= replies && fate == Fate::Muted {
                        continue;
                    }
                    if before == replies {
                        child.lock().unwrap().kill().unwrap();
                        break;
                    }
                    client.write_all(&bytes[..count]).unwrap();
                }
                if fate == Fate::Killed {
                    let _ = client.shutdown(Shutdown::Both);
                }
            });
        }
    });
    (at, passed)
}

/// The arguments that run the digits there.
pub fn run_digits<'a>(model: &'a str, inputs: &'a str, server: &'a Server, device: &'a str) -> Vec<&'a str> {
    vec!["run", model, "--input", inputs, "--token-file", &server.token, "--device", device]
}
