package faulty_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/faulty"
	"github.com/coulomb/artifact-store/pkg/storage/mem"
	"github.com/coulomb/artifact-store/pkg/storage/storagetest"
)

// TestContract: without faults the wrapper changes nothing.
func TestContract(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(*testing.T) storage.Backend { return faulty.Wrap(mem.New()) })
}

func TestFaults(t *testing.T) {
	t.Parallel()
	b := faulty.Wrap(mem.New())
	data := []byte("0123456789")
	name := digest.Of(data).SHA256
	put := func() error {
		_, err := b.Put(t.Context(), storage.Source{Reader: bytes.NewReader(data), Size: storage.UnknownSize})
		return err
	}
	read := func() ([]byte, error) {
		r, _, err := b.Get(t.Context(), name, nil)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	head := func() error { _, err := b.Head(t.Context(), name); return err }
	fault := errors.New("injected")

	b.Set(faulty.Faults{PutBefore: func(storage.Source) error { return fault }, Health: fault})
	if err := put(); !errors.Is(err, fault) || !errors.Is(head(), storage.ErrNotFound) || !errors.Is(b.Health(t.Context()), fault) {
		t.Errorf("before: %v", err)
	}
	b.Set(faulty.Faults{PutAfter: func(storage.Info) error { return fault }})
	if err := put(); !errors.Is(err, fault) || head() != nil {
		t.Errorf("after: %v, %v", err, head())
	}
	b.Set(faulty.Faults{Corrupt: map[digest.Digest]bool{name: true}})
	if got, err := read(); err != nil || len(got) != 10 || bytes.Equal(got, data) {
		t.Errorf("corrupt: %q, %v", got, err)
	}
	b.Set(faulty.Faults{CutOff: map[digest.Digest]int64{name: 4}})
	if got, err := read(); !errors.Is(err, storage.ErrUnreachable) || string(got) != "0123" {
		t.Errorf("cut off: %q, %v", got, err)
	}
	b.Set(faulty.Faults{Missing: map[digest.Digest]bool{name: true}})
	if _, err := read(); !errors.Is(err, storage.ErrNotFound) || !errors.Is(head(), storage.ErrNotFound) {
		t.Errorf("missing: %v, %v", err, head())
	}
	for info := range b.List(t.Context()) {
		t.Errorf("missing, and listed: %v", info)
	}
	b.Set(faulty.Faults{Get: func(digest.Digest) error { return fault }, Delete: func(digest.Digest) error { return fault }})
	if _, err := read(); !errors.Is(err, fault) || !errors.Is(b.Delete(t.Context(), name), fault) {
		t.Errorf("get: %v", err)
	}
	b.Set(faulty.Faults{})
	if got, err := read(); err != nil || !bytes.Equal(got, data) {
		t.Errorf("no faults: %q, %v", got, err)
	}
	if calls := b.Calls(); calls.Put != 2 || calls.Delete != 1 || calls.Get != 5 {
		t.Errorf("counted %+v", calls)
	}
}
