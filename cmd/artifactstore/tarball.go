package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/coulomb/artifact-store/cmd/artifactstore/selection"
	"github.com/coulomb/artifact-store/pkg/interrupt"
	"github.com/coulomb/artifact-store/pkg/manifest"
)

// collectTar finds what a tar archive has, which may be compressed by gzip. Its files are
// spooled: they are hashed before any is sent.
func collectTar(ctx context.Context, name string, o walkOptions, stdin io.Reader) (*localTree, error) {
	t := &localTree{}
	err := func() error {
		if name == standardInput {
			return (&archive{walkOptions: o, into: t, name: "standard input"}).read(&interruptible{ctx, stdin})
		}
		file, err := interrupt.Do(ctx, func() (*os.File, error) { return os.Open(name) })
		if err != nil {
			return err
		}
		defer file.Close()
		return (&archive{walkOptions: o, into: t, name: name}).read(&interruptible{ctx, file})
	}()
	if err == nil {
		err = t.arrange()
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// archive is a tar that is read into a tree.
type archive struct {
	walkOptions
	into    *localTree
	name    string
	seen    map[string]int // index in files, or -1, by path
	ignored selection.Ignored
}

func (a *archive) read(from io.Reader) error {
	a.seen = make(map[string]int)
	buffered := bufio.NewReaderSize(from, 64<<10)
	from = buffered
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		from = unpacked
	}
	ending := &endReader{from: from}
	reader := tar.NewReader(ending)
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			if err := ending.check(); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			break
		}
		if err != nil {
			return fmt.Errorf("%s: not a tar archive, or damaged: %w", a.name, err)
		}
		if err := a.entry(header, reader); err != nil {
			return fmt.Errorf("%s: %s: %w", a.name, shown(header.Name), err)
		}
		ending.zeros = 0 // those of a file's content are not the end of the archive
	}
	if len(a.seen) == 0 {
		return fmt.Errorf("%s: contains no files", a.name)
	}
	return a.leaveOut()
}

// endMark is how many zero bytes end an archive, at least (POSIX.1-2017, pax, "ustar
// Interchange Format"). The reader of the library does without them, so an archive that was
// cut off between two entries would look whole.
const endMark = 1024

// endReader counts the zero bytes that it has read last.
type endReader struct {
	from  io.Reader
	zeros int64
}

func (r *endReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if other := len(bytes.TrimRight(p[:n], "\x00")); other > 0 {
		r.zeros = int64(n - other)
	} else {
		r.zeros += int64(n)
	}
	return n, err
}

// check is called when no entry follows. It reads what is left, so that gzip's checksum is
// compared too.
func (r *endReader) check() error {
	if r.zeros < endMark {
		return errors.New("the archive is cut off: it has no end mark")
	}
	before := r.zeros
	rest, err := io.Copy(io.Discard, r)
	if err != nil {
		return fmt.Errorf("not a tar archive, or damaged: %w", err)
	}
	if r.zeros != before+rest {
		return errors.New("something follows the end of the archive; archives that are joined must be pushed one by one")
	}
	return nil
}

// entry adds one entry; what is left out is found out when all ignore files are known.
func (a *archive) entry(header *tar.Header, content io.Reader) error {
	name := strings.TrimPrefix(header.Name, "./")
	if header.Typeflag == tar.TypeDir {
		name = strings.TrimSuffix(name, "/")
	}
	if name == "" || name == "." || header.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if err := manifest.ValidatePath(name); err != nil {
		return err
	}
	at, again := a.seen[name]
	if again && header.Typeflag == tar.TypeDir && at == inFolders { // such as of archives that were joined
		return nil
	} else if again {
		return errors.New("occurs twice")
	}
	mode := header.FileInfo().Mode()
	switch header.Typeflag {
	case tar.TypeDir:
		a.seen[name] = inFolders
		a.into.folders = append(a.into.folders, localFolder{name, mode, a.modes})
	case tar.TypeReg, tar.TypeGNUSparse:
		a.seen[name] = len(a.into.files)
		// Secrets are looked for when it is known what is left out.
		f, err := a.into.spoolFile(content, name, mode, walkOptions{modes: a.modes})
		if err != nil {
			return err
		}
		a.into.files = append(a.into.files, f)
	case tar.TypeLink:
		first, known := a.seen[strings.TrimPrefix(header.Linkname, "./")]
		if !known || first < 0 {
			return fmt.Errorf("is a hard link to %s, which is not a file before it", shown(header.Linkname))
		}
		a.seen[name] = len(a.into.files)
		f := a.into.files[first]
		f.path = name
		a.into.files = append(a.into.files, f)
	case tar.TypeSymlink:
		if err := manifest.ValidateTarget(name, header.Linkname); err != nil {
			return fmt.Errorf("is a symbolic link to %s: %w; leave it out when the archive is made", shown(header.Linkname), err)
		}
		a.seen[name] = inLinks
		a.into.links = append(a.into.links, manifest.Link{Path: name, Target: header.Linkname})
	default:
		return fmt.Errorf("is neither a file, a folder nor a symbolic link (type %q)", string(header.Typeflag))
	}
	return nil
}

// What archive.seen has of what is no file.
const (
	inFolders = -1
	inLinks   = -2
)

// leaveOut applies ignore files and --exclude, and then looks for secrets.
func (a *archive) leaveOut() error {
	t := a.into
	for i := range t.files {
		if f := &t.files[i]; path.Base(f.path) == selection.IgnoreFile && a.ignore {
			file, err := f.open()
			if err != nil {
				return err
			}
			folder := strings.TrimSuffix(strings.TrimSuffix(f.path, selection.IgnoreFile), "/")
			err = addIgnoreFile(&a.ignored, folder, a.name+": "+f.path, file)
			file.Close()
			if err != nil {
				return err
			}
		}
	}
	w := walker{walkOptions: a.walkOptions, into: t, ignored: a.ignored}
	decided := make(map[string]ruling)
	all := *t
	t.files, t.links, t.folders = nil, nil, nil
	for _, f := range all.folders {
		if v := w.judge(decided, f.path, true, nil); !v.out {
			t.folders = append(t.folders, f)
		}
	}
	for _, l := range all.links {
		if v := w.judge(decided, l.Path, false, nil); !v.out {
			t.links = append(t.links, l)
		}
	}
	for _, f := range all.files {
		v := w.judge(decided, f.path, false, f.info)
		if v.out {
			continue
		}
		if f.allowed = v.allowed; !f.allowed {
			if _, err := t.noteSecret(f.name, f.path, f.info); err != nil {
				return err
			}
		}
		t.files = append(t.files, f)
	}
	return nil
}

// ruling is what becomes of a path of an archive.
type ruling struct {
	out     bool // it is left out, or the folder above it is
	allowed bool // even if it is a secret
}

// judge decides about a path as a walk from the root would, and notes what it leaves out.
func (w *walker) judge(decided map[string]ruling, name string, folder bool, info fs.FileInfo) ruling {
	if v, known := decided[name]; known {
		return v
	}
	var v ruling
	if up := path.Dir(name); up != "." {
		v = w.judge(decided, up, true, nil)
	}
	if above := v; !above.out {
		why, kept := w.decide(name, name, folder)
		v = ruling{out: why != "" && !kept, allowed: kept || w.allows(name)}
		switch {
		case v.out:
			w.into.leftOut = append(w.into.leftOut, newLeftOut(name, why, info))
		case folder && path.Base(name) == ".git" && !v.allowed:
			w.into.found = append(w.into.found, foundSecret{name + "/", "a Git repository"})
			v.out = true // one line for all that is in it
		}
	}
	decided[name] = v
	return v
}
