//! Holding a claim on command.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use port_api::Protocol;

use crate::attach::Target;

/// Claims, says so, and does as the lines on stdin say.
pub fn hold(
    target: &Target<'_>,
    protocol: Protocol,
    addr: SocketAddr,
) -> Result<(), Box<dyn Error>> {
    let vport = target.attach()?;
    let claim = vport
        .claim(protocol, addr)
        .map_err(|error| format!("{error}: {}", io::Error::from_raw_os_error(error.errno())))?;
    println!(
        "claimed {protocol} {} as claim {}",
        claim.local(),
        claim.id()
    );
    let mut vport = Some(vport);
    for line in io::stdin().lines() {
        match (line?.as_str(), &vport) {
            ("release", Some(vport)) => {
                vport.release_claim(&claim)?;
                println!("released");
            }
            ("detach", Some(_)) => {
                drop(vport.take());
                println!("detached");
            }
            (other, _) => return Err(format!("{other:?} is neither release nor detach").into()),
        }
    }
    Ok(())
}
