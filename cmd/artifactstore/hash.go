package main

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/coulomb/artifact-store/cmd/artifactstore/secrets"
	"github.com/coulomb/artifact-store/pkg/digest"
)

const (
	// smallFile is the size up to which a file is read into memory in one call.
	smallFile = 1 << 20
	// keepBudget bounds the content of small files kept in memory between
	// hashing and sending, so most are opened and read once. The others are
	// read a second time, usually from the page cache.
	keepBudget = 64 << 20
)

// hashFiles fills in the digests of all files, using all processors. It keeps up
// to keep bytes of small files in memory. A file that changes meanwhile is a *changedError.
func hashFiles(ctx context.Context, files []localFile, keep int64, progress *meter) error {
	var next, kept atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		group.Go(func() error {
			var scratch []byte
			for ctx.Err() == nil {
				i := next.Add(1) - 1
				if i >= int64(len(files)) {
					return nil
				}
				f := &files[i]
				var err error
				switch {
				case f.size() > smallFile:
					err = f.hashLarge(progress)
				case kept.Add(f.size()) <= keep:
					f.content = make([]byte, f.size())
					err = f.hashInto(f.content)
					progress.add(f.size())
				default:
					kept.Add(-f.size())
					if scratch == nil {
						scratch = make([]byte, smallFile)
					}
					err = f.hashInto(scratch[:f.size()])
					progress.add(f.size())
				}
				if err != nil {
					return err
				}
				progress.file(1)
			}
			return ctx.Err()
		})
	}
	return group.Wait()
}

// hashInto reads the file into buf, which has the file's size, and hashes buf: the
// digests match exactly these bytes even if the file changes later.
func (f *localFile) hashInto(buf []byte) error {
	file, err := f.open()
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.ReadFull(file, buf); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return &changedError{f.name}
		}
		return err
	}
	f.digests = digest.Of(buf)
	f.privateKey = secrets.IsPrivateKey(buf)
	return nil
}

func (f *localFile) hashLarge(progress *meter) error {
	file, err := f.open()
	if err != nil {
		return err
	}
	defer file.Close()
	begin := make([]byte, secrets.KeyBytes)
	if _, err := file.ReadAt(begin, 0); err != nil {
		return err
	}
	f.privateKey = secrets.IsPrivateKey(begin)
	sum, n, err := digest.Copy(io.Discard, progress.reader(file))
	if err != nil {
		return err
	}
	if n != f.size() || !f.unchanged(file) {
		return &changedError{f.name}
	}
	f.digests = sum
	return nil
}
