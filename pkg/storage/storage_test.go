package storage_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
)

func TestKey(t *testing.T) {
	t.Parallel()
	// printf '' | sha256sum, and the BLAKE3 of nothing from its paper's test vectors.
	empty := digest.Of(nil)
	for name, want := range map[digest.Digest]string{
		empty.SHA256: "sha256/e3/b0/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		empty.BLAKE3: "blake3/af/13/af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
	} {
		if got := storage.Key(name); got != want {
			t.Errorf("Key(%s) = %s", name, got)
		}
		if back, ok := storage.ParseKey(want); !ok || back != name {
			t.Errorf("ParseKey(%s) = %s, %v", want, back, ok)
		}
	}
}

// FuzzParseKey: ParseKey accepts exactly the keys that Key returns.
func FuzzParseKey(f *testing.F) {
	good := storage.Key(digest.Of([]byte("seed")).SHA256)
	for _, seed := range []string{
		good, strings.ToUpper(good), good + "/", "/" + good, strings.Replace(good, "/", "//", 1),
		strings.TrimPrefix(good, "sha256/"), "md5" + good[6:], storage.MarkerKey, "", "sha256", "../" + good,
		good[:7] + "00" + good[9:], good + "\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		name, ok := storage.ParseKey(key)
		if ok && storage.Key(name) != key {
			t.Errorf("%q became %s, whose key is %q", key, name, storage.Key(name))
		}
		if !ok && len(key) == len(good) && key == good {
			t.Errorf("%q was refused", key)
		}
		// For any digest, ParseKey inverts Key.
		of := digest.Of([]byte(key))
		for _, d := range []digest.Digest{of.SHA256, of.BLAKE3} {
			if back, ok := storage.ParseKey(storage.Key(d)); !ok || back != d {
				t.Errorf("%s became %s, %v", d, back, ok)
			}
		}
	})
}

func TestRangeWithin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		offset, length, size int64
		inside               bool
	}{
		{0, 0, 0, true}, {0, 10, 10, true}, {10, 0, 10, true}, {9, 1, 10, true},
		{0, 11, 10, false}, {10, 1, 10, false}, {11, 0, 10, false}, {-1, 1, 10, false}, {0, -1, 10, false},
		{math.MaxInt64, math.MaxInt64, 10, false}, {5, math.MaxInt64, math.MaxInt64, false},
	} {
		err := storage.Range{Offset: test.offset, Length: test.length}.Within(test.size)
		if (err == nil) != test.inside || (err != nil && !errors.Is(err, storage.ErrRange)) {
			t.Errorf("%d bytes from %d of %d: %v", test.length, test.offset, test.size, err)
		}
	}
}

func TestReasonOf(t *testing.T) {
	t.Parallel()
	place := &storage.PlaceError{Kind: storage.ErrDenied, Reason: storage.ReasonClockSkewed, Message: "m", Cause: context.DeadlineExceeded}
	if !errors.Is(place, storage.ErrDenied) || !errors.Is(place, context.DeadlineExceeded) || errors.Is(place, storage.ErrFull) {
		t.Error("a PlaceError is not what it wraps")
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{place, storage.ReasonClockSkewed},
		{fmt.Errorf("put: %w", place), storage.ReasonClockSkewed},
		{fmt.Errorf("get: %w", storage.ErrNotFound), storage.ReasonNotFound},
		{&storage.MismatchError{}, storage.ReasonMismatch},
		{context.DeadlineExceeded, storage.ReasonTimedOut},
		{context.Canceled, storage.ReasonCancelled},
		{errors.New("anything"), storage.ReasonUnknown},
	} {
		if got := storage.ReasonOf(test.err); got != test.want {
			t.Errorf("ReasonOf(%v) = %q, want %q", test.err, got, test.want)
		}
	}
}
