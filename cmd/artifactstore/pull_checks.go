package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"

	"github.com/coulomb/artifact-store/cmd/artifactstore/internal/volume"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

// What a pull finds out before it fetches anything: it fits, and the file system can
// hold its names.

// maxFullPath is how long the whole name of a file may be that programs open, in bytes.
var maxFullPath = map[string]int{"linux": 4095, "darwin": 1023, "freebsd": 1023}

// checkSpace compares what is to be fetched with the free space.
func (t *target) checkSpace(missing []manifest.File) error {
	var need int64
	there := t.partials()
	for _, f := range missing {
		name := partialName(f)
		need += f.Size - there[name]
		delete(there, name) // of two files with the same content one uses it
	}
	free, err := volume.Free(t.name)
	if err != nil || need <= free {
		return nil // where the system does not tell, writing does
	}
	return fmt.Errorf("%s: %s are needed, %s are free", t.name, sizeText(need), sizeText(free))
}

// checkNames finds files of the package that cannot be there under their names. The
// error has the first, notes has all if there are several.
func (t *target) checkNames(files []manifest.File) (notes []string, err error) {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.Path
	}
	bad := tooLong(t.name, paths, maxFullPath[runtime.GOOS])
	if runtime.GOOS == "windows" {
		bad = append(bad, windowsNames(paths)...)
	} else {
		bad = append(bad, t.refusedNames(paths)...)
	}
	if t.ignoresCase() {
		bad = append(bad, sameButForCase(paths)...)
	}
	switch len(bad) {
	case 0:
		return nil, nil
	case 1:
		return nil, fmt.Errorf("%s: %s", t.name, bad[0])
	}
	return bad, fmt.Errorf("%s: %d names of the package cannot be here", t.name, len(bad))
}

// tooLong names the files whose whole name is longer than most bytes; 0 is no limit.
func tooLong(dir string, paths []string, most int) (bad []string) {
	if full, err := filepath.Abs(dir); err == nil {
		dir = full
	}
	for _, p := range paths {
		if size := len(dir) + 1 + len(p); most > 0 && size > most {
			bad = append(bad, fmt.Sprintf("%s: its whole name would have %d bytes, at most %d are possible", p, size, most))
		}
	}
	return bad
}

// windowsDevices are names that Windows has for devices, in every folder and with any
// extension.
var windowsDevices = []string{
	"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$",
	"COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9", "COM¹", "COM²", "COM³",
	"LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9", "LPT¹", "LPT²", "LPT³",
}

// windowsNames names the paths that Windows refuses, or takes for others.
func windowsNames(paths []string) (bad []string) {
	for _, p := range paths {
		for component := range strings.SplitSeq(p, "/") {
			if why := windowsName(component); why != "" {
				bad = append(bad, p+": "+why)
				break
			}
		}
	}
	return bad
}

// windowsName says what is wrong with one component of a path.
func windowsName(name string) string {
	base, _, _ := strings.Cut(name, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch at := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || strings.ContainsRune(`<>:"|?*\`, r) }); {
	case at >= 0:
		r, _ := utf8.DecodeRuneInString(name[at:])
		return fmt.Sprintf("Windows has no names with %q", r)
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return "Windows drops a dot or a space at the end of a name"
	case slices.Contains(windowsDevices, base):
		return fmt.Sprintf("%s is a device on Windows", base)
	}
	return ""
}

// refusedNames tries the components that some file systems refuse (FAT and NTFS on
// Linux, and those that encrypt names), in the staging folder.
func (t *target) refusedNames(paths []string) (bad []string) {
	const always = 100 // bytes that every file system takes
	tried := map[string]string{}
	for _, p := range paths {
		for component := range strings.SplitSeq(p, "/") {
			if len(component) <= always && windowsName(component) == "" {
				continue
			}
			why, known := tried[component]
			if !known {
				why = t.tryName(component)
				tried[component] = why
			}
			if why != "" {
				bad = append(bad, p+": "+why)
				break
			}
		}
	}
	return bad
}

// tryName makes an empty file of that name in a folder of its own.
func (t *target) tryName(name string) string {
	folder := path.Join(t.staging, "names")
	if err := t.root.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return ""
	}
	defer t.root.RemoveAll(folder) //nolint:errcheck // leave removes it too
	file, err := t.root.OpenFile(path.Join(folder, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return fmt.Sprintf("the file system refuses the name: %v", err)
	}
	file.Close() //nolint:errcheck // nothing was written
	return ""
}

// ignoresCase tries whether two names that differ in case are one file.
func (t *target) ignoresCase() bool {
	lower, upper := path.Join(t.staging, "case"), path.Join(t.staging, "CASE")
	file, err := t.root.OpenFile(lower, os.O_WRONLY|os.O_CREATE, fileMode)
	if err != nil {
		return false
	}
	file.Close()               //nolint:errcheck // nothing was written
	defer t.root.Remove(lower) //nolint:errcheck // leave removes it too
	_, err = t.root.Lstat(upper)
	return err == nil
}

// sameButForCase names the paths, or their folders, that would be one on a file system
// that ignores case.
func sameButForCase(paths []string) (bad []string) {
	fold := cases.Fold()
	seen := map[string]string{} // a folded prefix of a path to the first that it was folded from
	for _, p := range paths {
		for end := 0; end < len(p); end++ {
			next := strings.IndexByte(p[end:], '/')
			if end += next; next < 0 {
				end = len(p)
			}
			prefix := p[:end]
			folded := fold.String(prefix)
			if first, is := seen[folded]; !is {
				seen[folded] = prefix
			} else if first != prefix {
				bad = append(bad, fmt.Sprintf("%s: here it would be the same as %s, because the file system ignores case", prefix, first))
				break
			}
		}
	}
	return bad
}
