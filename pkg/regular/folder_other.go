//go:build !linux

package regular

import "os"

// beneath opens nothing where the kernel cannot resolve names as os.Root does.
func (*Folder) beneath(string) *os.File { return nil }
