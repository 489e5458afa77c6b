package digest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// Third-party vectors: FIPS 180-4 examples (NIST) and the official BLAKE3 test
// vectors, whose input is the repeating bytes 0, 1, …, 250.
func TestVectors(t *testing.T) {
	t.Parallel()
	pattern := func(n int) []byte {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(i % 251)
		}
		return p
	}
	for _, c := range []struct {
		input          []byte
		sha256, blake3 string // "" if no vector is known
	}{
		{nil, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
		{[]byte("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"},
		{bytes.Repeat([]byte("a"), 1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", ""},
		{pattern(1), "", "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"},
		{pattern(1024), "", "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"},
		{pattern(102400), "", "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"},
	} {
		got := Of(c.input)
		if c.sha256 != "" && got.SHA256.Hex() != c.sha256 {
			t.Errorf("sha256 of %d bytes: %s, want %s", len(c.input), got.SHA256.Hex(), c.sha256)
		}
		if c.blake3 != "" && got.BLAKE3.Hex() != c.blake3 {
			t.Errorf("blake3 of %d bytes: %s, want %s", len(c.input), got.BLAKE3.Hex(), c.blake3)
		}
	}
}

// However the bytes arrive, and whichever hasher gets them, the digests are equal.
func TestAllWaysAgree(t *testing.T) {
	t.Parallel()
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{0, 1, blockSize - 1, blockSize, parallelFrom, parallelFrom + 1, 5*blockSize + 17, 32 * blockSize} {
		data := make([]byte, size)
		random.Read(data) //nolint:errcheck // never fails
		want := Of(data)

		var copied bytes.Buffer
		got, n, err := Copy(&copied, iotest.HalfReader(bytes.NewReader(data)))
		if err != nil || got != want || n != int64(size) || !bytes.Equal(copied.Bytes(), data) {
			t.Errorf("Copy of %d bytes: %v, %d, %v", size, got, n, err)
		}
		r := NewReader(bytes.NewReader(data))
		if _, err := io.Copy(io.Discard, r); err != nil || r.Sum() != want || r.Size() != int64(size) {
			t.Errorf("Reader of %d bytes: %v, %v", size, r.Sum(), err)
		}
		h := NewParallelHasher()
		scratch := make([]byte, 100_000)
		for rest := data; len(rest) > 0; {
			k := copy(scratch, rest)
			h.Write(scratch[:k]) //nolint:errcheck // never fails
			clear(scratch)       // the written bytes may be reused immediately
			rest = rest[k:]
		}
		if h.Sum() != want || h.Size() != int64(size) {
			t.Errorf("ParallelHasher of %d bytes: %v", size, h.Sum())
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	d := Of([]byte("x"))
	for _, want := range []Digest{d.SHA256, d.BLAKE3} {
		got, err := Parse(want.String())
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", want, got, err)
		}
	}
	hex := d.SHA256.Hex()
	for _, text := range []string{"", hex, "sha256:", "sha256:" + hex[1:], "sha256:" + hex + "0", "md5:" + hex, "SHA256:" + hex,
		"sha256:" + strings.ToUpper(hex), "sha256:" + hex[:63] + "g", "sha256-" + hex, " sha256:" + hex} {
		if _, err := Parse(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", text, err)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	want := Dual{SHA256: Of([]byte("x")).SHA256}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Dual
	if err := json.Unmarshal(data, &got); err != nil || got != want {
		t.Fatalf("%s: %v, %v", data, got, err)
	}
	if err := json.Unmarshal([]byte(`{"sha256":"sha256:00"}`), &got); err == nil {
		t.Fatal("a short digest was taken")
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	x, y := Of([]byte("x")), Of([]byte("y"))
	for _, c := range []struct {
		want Dual
		ok   bool
	}{
		{x, true},
		{Dual{SHA256: x.SHA256}, true},
		{Dual{BLAKE3: x.BLAKE3}, true},
		{Dual{}, false}, // an unknown digest proves nothing
		{y, false},
		{Dual{SHA256: x.SHA256, BLAKE3: y.BLAKE3}, false},
	} {
		if got := c.want.Matches(x); got != c.ok {
			t.Errorf("%v matches: %v", c.want, got)
		}
	}
}

// What went wrong is told, with the digests of what came before: an input that was cut
// (io.ErrUnexpectedEOF) is no end.
func TestCopyFails(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 3*blockSize + 5} {
		data := bytes.Repeat([]byte("x"), size)
		cut := io.MultiReader(bytes.NewReader(data), iotest.ErrReader(io.ErrUnexpectedEOF))
		got, n, err := Copy(io.Discard, cut)
		if err != io.ErrUnexpectedEOF || n != int64(size) || got != Of(data) {
			t.Errorf("a cut of %d bytes: %d, %v", size, n, err)
		}
		full := errors.New("full")
		if _, _, err := Copy(failing{full}, bytes.NewReader(data)); err != full {
			t.Errorf("writing %d bytes: %v", size, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func BenchmarkCopy(b *testing.B) {
	data := make([]byte, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := Copy(io.Discard, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}
