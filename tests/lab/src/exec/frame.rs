//! What travels between the lab and a node's exec server: a kind, a length, that many bytes.

use std::io::{self, Read, Write};

/// The longest payload that is sent or accepted.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// How many bytes of a stream one frame carries.
pub const CHUNK: usize = 64 << 10;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// To the node, first of all: a [`super::Request`] as JSON.
    Request = 1,
    /// To the node: bytes for the program's standard input (or of a file that is put).
    Stdin = 2,
    /// To the node: no more of those. Payload empty.
    StdinEnd = 3,
    /// To the node: send this signal to the program's process group. Payload: the number, in four bytes.
    Signal = 4,
    /// From the node: bytes of the program's standard output (or of a file that is got).
    Stdout = 5,
    /// From the node: bytes of the program's standard error.
    Stderr = 6,
    /// From the node, last: a [`super::Reply`] as JSON.
    Reply = 7,
    /// From the node, last: why the request could not be carried out, as text.
    Failed = 8,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        use Kind::{Failed, Reply, Request, Signal, Stderr, Stdin, StdinEnd, Stdout};
        [Request, Stdin, StdinEnd, Signal, Stdout, Stderr, Reply, Failed]
            .into_iter()
            .find(|&kind| kind as u8 == byte)
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Writes one frame. The payload must not be longer than [`MAX_PAYLOAD`].
///
/// # Errors
/// Those of the stream; `InvalidInput` for a payload that is too long.
pub fn write(stream: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PAYLOAD);
    let Some(length) = length else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a frame of {} bytes", payload.len()),
        ));
    };
    // One write for header and payload: two would be two packets on the emulated link.
    let mut bytes = Vec::with_capacity(5 + payload.len());
    bytes.push(kind as u8);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload);
    stream.write_all(&bytes)?;
    stream.flush()
}

/// Reads one frame; `None` when the other side has hung up between two frames.
///
/// # Errors
/// Those of the stream; `UnexpectedEof` inside a frame; `InvalidData` for what is no frame.
pub fn read(stream: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut first = [0_u8];
    if read_some(stream, &mut first)? == 0 {
        return Ok(None);
    }
    let kind =
        Kind::from_byte(first[0]).ok_or_else(|| invalid(&format!("unknown kind {}", first[0])))?;
    let mut length = [0_u8; 4];
    stream.read_exact(&mut length)?;
    let length =
        usize::try_from(u32::from_be_bytes(length)).map_err(|e| invalid(&e.to_string()))?;
    if length > MAX_PAYLOAD {
        return Err(invalid(&format!("{length} bytes announced, {MAX_PAYLOAD} is the most")));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    Ok(Some(Frame { kind, payload }))
}

fn read_some(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not a frame of the lab's exec protocol: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut wire = Vec::new();
        write(&mut wire, Kind::Stdout, b"hello").unwrap();
        write(&mut wire, Kind::StdinEnd, b"").unwrap();
        let mut wire = wire.as_slice();
        assert_eq!(
            read(&mut wire).unwrap(),
            Some(Frame { kind: Kind::Stdout, payload: b"hello".to_vec() })
        );
        assert_eq!(
            read(&mut wire).unwrap(),
            Some(Frame { kind: Kind::StdinEnd, payload: Vec::new() })
        );
        assert_eq!(read(&mut wire).unwrap(), None);
    }

    #[test]
    fn every_kind_survives_the_wire() {
        for byte in 0..=u8::MAX {
            if let Some(kind) = Kind::from_byte(byte) {
                assert_eq!(kind as u8, byte);
            }
        }
        assert_eq!((0..=u8::MAX).filter_map(Kind::from_byte).count(), 8);
    }

    #[test]
    fn a_frame_cut_short_is_an_error() {
        let mut wire = Vec::new();
        write(&mut wire, Kind::Stdout, b"hello").unwrap();
        for length in 1..wire.len() {
            assert_eq!(
                read(&mut &wire[..length]).unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof
            );
        }
    }

    #[test]
    fn nonsense_is_refused_before_it_is_stored() {
        assert_eq!(
            read(&mut &b"GET / HTTP/1.1"[..]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        assert_eq!(
            read(&mut &[5, 0xff, 0xff, 0xff, 0xff][..]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        let long = vec![0; MAX_PAYLOAD + 1];
        assert_eq!(
            write(&mut Vec::new(), Kind::Stdin, &long).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }
}
