package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/coulomb/artifact-store/pkg/digest"
)

// JSON is a manifest in JSON, made from its encoding without ever being in
// memory as a whole.
type JSON struct {
	open  func() (io.ReadCloser, error)
	begin []byte // all before the first file, which is behind the files in CBOR
}

// ErrOther: the encoding that was read is not the one that was asked for.
var ErrOther = errors.New("it is another manifest")

// endOfFiles follows the last file in JSON if there are no links and folders.
const endOfFiles = "]}"

// NewJSON reads the encoding once. open is called for each pass over it. ErrOther
// if it is not that of the name. Errors do not unwrap to those of this package
// otherwise: a stored manifest is not the caller's fault.
func NewJSON(name digest.Digest, open func() (io.ReadCloser, error)) (*JSON, error) {
	body, err := open()
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // it was only read
	read := digest.NewReader(body)
	top, err := Stream(read, Each{})
	if err == nil && read.Sum().SHA256 != name {
		err = ErrOther
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", name, flat(err))
	}
	top.Files = []File{}
	encoded, err := json.Marshal(top)
	return &JSON{open, bytes.TrimSuffix(encoded, []byte(endOfFiles))}, err
}

// flat hides an InvalidError.
func flat(err error) error {
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return errors.New(err.Error())
	}
	return err
}

// Write writes all of it.
func (j *JSON) Write(to io.Writer) error {
	body, err := j.open()
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // it was only read
	out := bufio.NewWriter(to)
	out.Write(j.begin) //nolint:errcheck // Flush tells
	write := func(number int, key string, item any) error {
		encoded, err := json.Marshal(item)
		if err != nil {
			return err
		}
		switch {
		case number > 0:
			out.WriteByte(',') //nolint:errcheck // Flush tells
		case key != "":
			fmt.Fprintf(out, `],"%s":[`, key) //nolint:errcheck // Flush tells
		}
		_, err = out.Write(encoded)
		return err
	}
	if _, err := Stream(body, Each{
		File:   func(number int, f File) error { return write(number, "", f) },
		Link:   func(number int, l Link) error { return write(number, "links", l) },
		Folder: func(number int, f Folder) error { return write(number, "folders", f) },
	}); err != nil {
		return flat(err)
	}
	out.WriteString(endOfFiles) //nolint:errcheck // Flush tells
	return out.Flush()
}
