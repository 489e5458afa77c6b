package local

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/coulomb/artifact-store/pkg/storage"
)

var errNotFolder = syscall.ENOTDIR

// errNoSync: the file system does not support fsync, as with some mounts of CIFS and FUSE.
var errNoSync = errors.New("fsync is not supported")

// kinds maps the errors of the operating system, in this one place.
var kinds = []struct {
	errno  error
	kind   error
	reason string
	words  string
}{
	{fs.ErrNotExist, storage.ErrNoPlace, storage.ReasonFolderNotFound, "it does not exist"},
	{syscall.ENOTDIR, storage.ErrNoPlace, storage.ReasonFolderNotFound, "it is not a folder"},
	{syscall.EROFS, storage.ErrDenied, storage.ReasonReadOnly, "the file system is read-only"},
	{fs.ErrPermission, storage.ErrDenied, storage.ReasonAccessDenied, "permission denied"},
	{errNoSync, nil, storage.ReasonSyncUnsupported, "the file system does not support fsync, so what is stored could be lost"},
	{syscall.ENOSPC, storage.ErrFull, storage.ReasonFull, "no space is left"},
	{syscall.EDQUOT, storage.ErrFull, storage.ReasonFull, "the quota is used up"},
	{syscall.EFBIG, storage.ErrTooLarge, storage.ReasonTooLarge, "larger than the file system can hold"},
	{syscall.ESTALE, storage.ErrUnreachable, storage.ReasonConnectionLost, "the network file system reports a stale handle"},
	{syscall.ENOTCONN, storage.ErrUnreachable, storage.ReasonConnectionLost, "the network file system is not connected"},
	{syscall.ETIMEDOUT, storage.ErrUnreachable, storage.ReasonTimedOut, "the network file system did not answer"},
}

// placeError says which attempt failed and why; nil stays nil.
func placeError(attempt, name string, err error) error {
	if err == nil {
		return nil
	}
	for _, k := range kinds {
		if errors.Is(err, k.errno) {
			return &storage.PlaceError{Kind: k.kind, Reason: k.reason,
				Message: fmt.Sprintf("%s %s: %s", attempt, name, k.words)}
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return &storage.PlaceError{Reason: storage.ReasonUnknown,
			Message: fmt.Sprintf("%s %s: %s", attempt, name, errno.Error()), Cause: errno}
	}
	return fmt.Errorf("%s %s: %w", attempt, name, err)
}
