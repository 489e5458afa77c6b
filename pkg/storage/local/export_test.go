package local

import "os"

// SyncFolder syncs a folder as a put does.
func SyncFolder(path string) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // opened for reading only
	return placeError("sync a folder in", path, syncFolder(root, "."))
}
