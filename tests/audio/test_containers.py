"""Files cut short, headers without sizes, headers that are wrong: in every container, read right or said."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_probe.audio.bitstreams import read_mp3
from ser_probe.audio.layout import AudioLayout, Patch, patched
from ser_probe.audio.load import AudioSpec, hear_clip, inspect_clip, load_clip
from ser_probe.errors import AudioError

from ..voices import voice
from .containers import CODED, RATE_HZ, write_coded, write_field

# ADPCM blocks, MP3 frames and Opus packets are filled up.
PADDING_S = 0.1
NOT_STATED = r"the header states no size: all \d\.\d\d s that follow it were read"


def hear(path: Path) -> tuple[float, str]:
    """Return a file's duration, which header and decoding must agree on, and its notes."""
    facts, heard = inspect_clip(path), hear_clip(path, max_duration_s=60)
    assert facts.duration_s == pytest.approx(heard.duration_s, abs=1e-9)
    assert facts.notes == heard.notes
    return heard.duration_s, "; ".join(heard.notes)


def find(path: Path, name: bytes) -> int:
    return path.read_bytes().index(name)


@pytest.mark.parametrize(("container", "coding"), CODED)
def test_a_whole_file_is_heard_whole_without_a_note(container: str, coding: str, tmp_path: Path) -> None:
    duration_s, notes = hear(write_coded(tmp_path, container, coding))
    assert duration_s == pytest.approx(1, abs=PADDING_S)
    assert notes == ""


@pytest.mark.parametrize("share", [0.9, 0.4])
@pytest.mark.parametrize(("container", "coding"), CODED)
def test_a_file_cut_short_is_refused_with_the_reason(container: str, coding: str, share: float, tmp_path: Path) -> None:
    path = write_coded(tmp_path, container, coding)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(AudioError, match=r"cut short|breaks off while it is decoded: 1\.00 s are promised"):
        load_clip(path, AudioSpec())


def test_the_reason_has_figures(tmp_path: Path) -> None:
    path = write_coded(tmp_path, "WAV", "PCM_16")
    path.write_bytes(path.read_bytes()[:16_044])
    for read in (inspect_clip, lambda clip: load_clip(clip, AudioSpec())):
        with pytest.raises(AudioError, match=r"promises more than the file holds(.|\n)*1\.00 s promised, 0\.50 s held"):
            read(path)


@pytest.mark.parametrize("container", ["IRCAM", "PAF", "PVF"])
def test_where_no_length_is_stated_that_is_said(container: str, tmp_path: Path) -> None:
    _, notes = hear(write_coded(tmp_path, container, "PCM_16"))
    assert "do not state their length: whether it is whole cannot be told" in notes


def test_a_few_missing_samples_are_said_and_no_more(tmp_path: Path) -> None:
    path = write_coded(tmp_path, "WAV", "PCM_16")
    path.write_bytes(path.read_bytes()[:-320])
    assert hear(path) == (0.99, "the file ends 10.0 ms before its header says")


UNSIZED = {
    "WAV": (b"data", 4, "<I", (0, 0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000, 0x8000_0000)),
    "WAVEX": (b"data", 4, "<I", (0, 0xFFFF_FFFF)),
    "RF64": (b"ds64", 16, "<Q", (0, 2**64 - 1, 2**63 - 1)),
    "W64": (b"data", 16, "<Q", (0, 2**64 - 1, 2**63 - 1)),
    "AIFF": (b"SSND", 4, ">I", (0, 0xFFFF_FFFF)),
    "CAF": (b"data", 4, ">Q", (0, 2**64 - 1)),
    "AU": (b".snd", 8, ">I", (0, 0xFFFF_FFFF)),
    "SVX": (b"BODY", 4, ">I", (0, 0xFFFF_FFFF)),
}
SIZES = [(container, size) for container, (_, _, _, sizes) in UNSIZED.items() for size in sizes]


@pytest.mark.parametrize(("container", "size"), SIZES)
def test_a_size_that_was_never_written_is_found(container: str, size: int, tmp_path: Path) -> None:
    path = write_coded(tmp_path, container, "PCM_16")
    expected, _ = soundfile.read(path)
    name, offset, form, _ = UNSIZED[container]
    write_field(path, find(path, name) + offset, struct.pack(form, size))
    assert hear(path)[0] == 1.0
    assert NOT_STATED.replace(r"\d\.\d\d", "1.00") in hear(path)[1]
    np.testing.assert_array_equal(load_clip(path, AudioSpec()).samples, expected.astype(np.float32))


def test_a_streamed_wav_with_text_before_its_samples(tmp_path: Path) -> None:
    """As ffmpeg writes into a pipe: a LIST chunk, and all sizes 0xFFFFFFFF."""
    whole = write_coded(tmp_path, "WAV", "PCM_16").read_bytes()
    text = b"LIST" + struct.pack("<I", 26) + b"INFOISFT\x0e\0\0\0Lavf60.16.100\0"
    path = tmp_path / "piped.wav"
    path.write_bytes(whole[:36] + text + b"data" + b"\xff" * 4 + whole[44:])
    write_field(path, 4, b"\xff" * 4)
    assert hear(path)[0] == 1.0
    assert inspect_clip(path).notes == ("the header states no size: all 1.00 s that follow it were read",)


def test_an_empty_chunk_of_samples_before_other_chunks_is_empty(tmp_path: Path) -> None:
    path = write_coded(tmp_path, "WAV", "PCM_16", np.zeros(0))
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 8) + b"INFOISFT")
    with pytest.raises(AudioError, match=r"holds no samples(.|\n)*a header and nothing after it"):
        inspect_clip(path)


@pytest.mark.parametrize(("container", "name", "offset", "form"), [
    ("WAV", b"data", 4, "<I"), ("AIFF", b"SSND", 4, ">I"), ("CAF", b"data", 4, ">Q"), ("W64", b"data", 16, "<Q"),
    ("AU", b".snd", 8, ">I"), ("RF64", b"ds64", 16, "<Q"),
])  # fmt: skip
def test_a_size_too_small_is_said(container: str, name: bytes, offset: int, form: str, tmp_path: Path) -> None:
    path = write_coded(tmp_path, container, "PCM_16")
    write_field(path, find(path, name) + offset, struct.pack(form, 16_000))
    duration_s, notes = hear(path)
    assert duration_s == pytest.approx(0.5, abs=0.001)
    assert "the header says 0.50 s, and enough for 0.50 s more follows that it does not account for: not read" in notes


def test_chunks_after_the_samples_are_no_samples(tmp_path: Path) -> None:
    """Nothing is said of the usual ones; the decoder itself would take those of a W64 file for samples."""
    path = write_coded(tmp_path, "WAV", "PCM_16")
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4_000) + b"INFO" + b"x" * 3_996)
    assert hear(path) == (1.0, "")
    wide = write_coded(tmp_path, "W64", "PCM_16")
    at = find(wide, b"data")
    whole = wide.read_bytes()[: at + 24 + 32_000]
    chunk = b"bext" + whole[at + 4 : at + 16] + struct.pack("<Q", 24 + 4_000) + b"x" * 4_000
    wide.write_bytes(whole + chunk)
    write_field(wide, at + 16, struct.pack("<Q", 24 + 32_000))
    assert soundfile.info(wide).frames > RATE_HZ
    assert hear(wide) == (1.0, "")


def test_a_file_glued_to_another_is_said(tmp_path: Path) -> None:
    for container, coding in (("WAV", "PCM_16"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS")):
        path = write_coded(tmp_path, container, coding)
        path.write_bytes(path.read_bytes() * 2)
        duration_s, notes = hear(path)
        assert duration_s == pytest.approx(1, abs=PADDING_S)
        assert "more follows that it does not account for" in notes or "2 streams, of which the first was read" in notes


@pytest.mark.parametrize(("at", "form", "value"), [(24, "<I", 8_000), (22, "<H", 2), (34, "<H", 8), (28, "<I", 0)])
def test_a_header_that_contradicts_itself_is_said(at: int, form: str, value: int, tmp_path: Path) -> None:
    path = write_field(write_coded(tmp_path, "WAV", "PCM_16"), at, struct.pack(form, value))
    assert "the header contradicts itself: " in hear(path)[1]


def test_two_counts_of_samples_in_an_aiff_file(tmp_path: Path) -> None:
    path = write_coded(tmp_path, "AIFF", "PCM_16")
    write_field(path, find(path, b"COMM") + 10, struct.pack(">I", 77))
    assert hear(path) == (1.0, "the header contradicts itself on its length: read by its chunk, 1.00 s")


def test_a_file_without_a_size_and_too_large_to_rewrite_is_refused(tmp_path: Path) -> None:
    path = write_coded(tmp_path, "WAV", "PCM_16")
    write_field(path, 40, bytes(4))
    os.truncate(path, (1 << 30) + 1)  # a hole in the file: no disk is filled
    with pytest.raises(AudioError, match=r"states no size, and the file is too large(.|\n)*1\.0 GiB(.|\n)*header anew"):
        inspect_clip(path)


# ------------------------------------------------------------------------------------------- FLAC, Ogg, MP3


def state_flac_samples(path: Path, samples: int) -> Path:
    packed = int.from_bytes(path.read_bytes()[18:26], "big")
    return write_field(path, 18, ((packed >> 36 << 36) | samples).to_bytes(8, "big"))


@pytest.mark.parametrize("coding", ["PCM_16", "PCM_24"])
@pytest.mark.parametrize("n_samples", [RATE_HZ, 4_096, 4_097, 500])
def test_a_flac_file_that_states_no_length(coding: str, n_samples: int, tmp_path: Path) -> None:
    samples = voice(1, 130, 1.0)[:n_samples]
    path = state_flac_samples(write_coded(tmp_path, "FLAC", coding, samples), 0)
    with pytest.raises((soundfile.SoundFileError, ValueError)):
        soundfile.read(path)  # which is why it is done here
    duration_s, notes = hear(path)
    assert duration_s == n_samples / RATE_HZ
    assert "the header states no size" in notes


def test_a_flac_file_whose_header_is_wrong(tmp_path: Path) -> None:
    path = state_flac_samples(write_coded(tmp_path, "FLAC", "PCM_16"), 8_000)
    assert len(soundfile.read(path)[0]) == 8_000
    assert hear(path) == (1.0, "the header promises 0.50 s and the file holds 1.00 s, which were read")
    with pytest.raises(AudioError, match=r"cut short(.|\n)*1\.25 s promised, 1\.00 s held"):
        inspect_clip(state_flac_samples(path, 20_000))


def test_a_flac_file_without_length_or_end(tmp_path: Path) -> None:
    path = state_flac_samples(write_coded(tmp_path, "FLAC", "PCM_16"), 0)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AudioError, match=r"cut short(.|\n)*states no length, and its last frame is not whole"):
        inspect_clip(path)


def test_tags_around_compressed_audio_are_no_audio(tmp_path: Path) -> None:
    front = b"ID3\x04\0\0\0\0\x01\x00" + bytes(128)
    back = b"TAG" + b"x" * 125
    for container, coding in (("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")):
        path = write_coded(tmp_path, container, coding)
        path.write_bytes(front + path.read_bytes() + back)
        duration_s, notes = hear(path)
        assert duration_s == pytest.approx(1, abs=PADDING_S)
        assert notes == ""


def test_an_ogg_file_without_its_last_page(tmp_path: Path) -> None:
    path = write_coded(tmp_path, "OGG", "OPUS", voice(1, 130, 3.0))
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"OggS")])
    duration_s, notes = hear(path)
    assert duration_s < 2.9
    assert "no page marked as its last: what was there was read, and more may be missing" in notes


def test_a_damaged_ogg_page_is_refused(tmp_path: Path) -> None:
    path = write_coded(tmp_path, "OGG", "VORBIS", voice(1, 130, 3.0))
    whole = path.read_bytes()
    write_field(path, len(whole) // 2, bytes([whole[len(whole) // 2] ^ 1]))
    with pytest.raises(AudioError, match=r"damaged(.|\n)*Ogg: the checksum of its page \d+ is another"):
        inspect_clip(path)


def test_bytes_between_the_frames_of_an_mp3_are_said(tmp_path: Path) -> None:
    path = write_coded(tmp_path, "MP3", "MPEG_LAYER_III")
    whole = path.read_bytes()
    path.write_bytes(whole[:288] + b"between" + whole[288:])
    duration_s, notes = hear(path)
    assert duration_s == pytest.approx(1, abs=PADDING_S)
    assert "7 bytes between its frames are none, and were left out" in notes


def test_an_mp3_whose_first_frame_is_of_another_kind_is_said(tmp_path: Path) -> None:
    path = write_coded(tmp_path, "MP3", "MPEG_LAYER_III")
    write_field(path, 2, bytes([path.read_bytes()[2] ^ 0x08]))  # its sampling rate
    assert "first frame is unlike those that follow: its length is the decoder's estimate" in hear(path)[1]


@pytest.mark.parametrize("container", ["AVR", "MPC2K", "MAT5", "VOC"])
def test_old_formats_are_read_beyond_their_headers_and_that_is_said(container: str, tmp_path: Path) -> None:
    path = write_coded(tmp_path, container, "PCM_16")
    path.write_bytes(path.read_bytes() + bytes(8_000))
    duration_s, notes = hear(path)
    assert duration_s == pytest.approx(1.25, abs=0.01)
    assert "the header promises 1.00 s and the file holds 1.25 s, which were read" in notes


def test_an_mp3_of_varying_bit_rate_without_a_table(tmp_path: Path) -> None:
    """As written into a pipe. The decoder alone stops where the first frame's bit rate would end the file."""
    loud = voice(1, 130, 4.0)
    loud[: 2 * RATE_HZ] *= 1e-4
    path = write_coded(tmp_path, "MP3", "MPEG_LAYER_III", loud)
    whole = path.read_bytes()
    at = max(whole.find(b"Xing"), whole.find(b"Info"))
    write_field(path, at, bytes(4))
    layout = read_mp3(path.open("rb"), whole, len(whole))
    assert layout is not None
    assert layout.promised is None
    assert soundfile.info(path).duration < 3.5
    duration_s, notes = hear(path)
    assert duration_s == pytest.approx(4, abs=0.15)
    assert "the header states no size" in notes


def test_patches_overwrite_insert_and_end() -> None:
    layout = AudioLayout("x", None, 0, (Patch(1, b"BC"), Patch(4, b"--", 0), Patch(0, b"", 1)), end=5)
    assert patched(b"abcdefg", layout) == b"BCd--e"
