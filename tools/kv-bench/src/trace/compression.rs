//! Files as they are kept: plain, or compressed by gzip, xz or zstd. The first bytes tell, whatever the file is called.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

const BUFFER_BYTES: usize = 256 << 10;

/// The text or bytes of a file, uncompressed.
pub fn open(mut file: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut head = Vec::with_capacity(6);
    file.by_ref().take(6).read_to_end(&mut head)?;
    let whole: Chain<Cursor<Vec<u8>>, _> = Cursor::new(head.clone()).chain(file);
    Ok(match head[..] {
        [0x1f, 0x8b, ..] => buffered(flate2::read::MultiGzDecoder::new(whole)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => buffered(liblzma::read::XzDecoder::new_multi_decoder(whole)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => buffered(zstd::Decoder::new(whole)?),
        _ => buffered(whole),
    })
}

fn buffered(input: impl Read + 'static) -> Box<dyn BufRead> {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, input))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const TEXT: &[u8] = b"1 100\n2 200\n";

    fn opened(file: Vec<u8>) -> Vec<u8> {
        let mut text = vec![];
        open(Cursor::new(file)).unwrap().read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn every_compression_is_known_by_its_first_bytes() {
        let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        gzip.write_all(TEXT).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut xz = liblzma::write::XzEncoder::new(vec![], 1);
        xz.write_all(TEXT).unwrap();
        assert_eq!(opened(TEXT.to_vec()), TEXT);
        assert_eq!(opened([gzip.clone(), gzip].concat()), TEXT.repeat(2), "several members, one after the other");
        assert_eq!(opened(xz.finish().unwrap()), TEXT);
        assert_eq!(opened(zstd::encode_all(TEXT, 1).unwrap()), TEXT);
        assert_eq!(opened(b"1 2".to_vec()), b"1 2", "shorter than any mark");
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let whole = zstd::encode_all(&TEXT.repeat(1000)[..], 1).unwrap();
        let cut = whole[..whole.len() / 2].to_vec();
        assert!(open(Cursor::new(cut)).unwrap().read_to_end(&mut vec![]).is_err());
    }
}
