package reading

import (
	"context"
	"errors"
	"io"
	"slices"
	"syscall"

	"github.com/coulomb/artifact-store/pkg/database"
	"github.com/coulomb/artifact-store/pkg/digest"
	"github.com/coulomb/artifact-store/pkg/registry/doubt"
	"github.com/coulomb/artifact-store/pkg/registry/placement"
	"github.com/coulomb/artifact-store/pkg/registry/view"
)

// watched has an object verified soon whose bytes end too early, or cannot be read.
type watched struct {
	io.ReadCloser
	failed func(error)
}

func (r *Reader) watch(ctx context.Context, b placement.Backend, blob digest.Digest, body io.ReadCloser) io.ReadCloser {
	return &watched{body, func(err error) {
		r.core.Logger.WarnContext(ctx, "reading a live location", "digest", blob.String(), "backend", b.Name, "error", err)
		r.core.Suspect(ctx, b, blob, err)
	}}
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.check(err)
	return n, err
}

// WriteTo lets a file be sent by sendfile.
func (w *watched) WriteTo(to io.Writer) (int64, error) {
	direct, is := w.ReadCloser.(io.WriterTo)
	if !is {
		return io.Copy(to, struct{ io.Reader }{w})
	}
	n, err := direct.WriteTo(to)
	w.check(err)
	return n, err
}

// check tells what only an object can cause: other errors are those of whoever reads.
func (w *watched) check(err error) {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.EIO) {
		w.failed(err)
	}
}

// soundFirst puts locations that are in doubt behind the others.
func (r *Reader) soundFirst(ctx context.Context, blob digest.Digest, locations []view.Location) error {
	if len(locations) < 2 {
		return nil
	}
	return r.core.Read(ctx, func(tx database.Tx) error {
		doubts, err := doubt.Find(ctx, tx, []digest.Digest{blob})
		inDoubt := func(l view.Location) int {
			if slices.Contains(doubts[blob], l.BackendID) {
				return 1
			}
			return 0
		}
		slices.SortStableFunc(locations, func(a, b view.Location) int { return inDoubt(a) - inDoubt(b) })
		return err
	})
}
