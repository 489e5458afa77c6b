package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/coulomb/artifact-store/pkg/storage"
	"github.com/coulomb/artifact-store/pkg/storage/backends"
)

const (
	// backendConfigEnv holds the content of --file itself.
	backendConfigEnv = "ARTIFACTSTORE_BACKEND_CONFIG"
	// maxPlaceFile bounds each file read, in bytes: the size limit of a Secret.
	maxPlaceFile = 1 << 20
)

// placeFlags say how to reach a backend's objects without the registry.
type placeFlags struct {
	file        string
	credentials string
}

func (f *placeFlags) add(flags *pflag.FlagSet) {
	flags.StringVarP(&f.file, "file", "f", "", "file with the s3 or local part of a\nStorageBackend's spec, without references;\n"+backendConfigEnv+" can hold its\ncontent instead")
	flags.StringVar(&f.credentials, "credentials-dir", "", "folder with the files accessKey, secretKey,\nsessionToken and caBundle, as needed")
}

// placeConfig reads the flags' files; direct is false if no flag is set.
func (a *app) placeConfig(f placeFlags) (config backends.Config, direct bool, err error) {
	text, from := []byte(a.getenv(backendConfigEnv)), backendConfigEnv
	if f.file != "" {
		from = f.file
		if text, err = readPlaceFile(f.file); err != nil {
			return config, false, asUsage(fmt.Errorf("--file: %w", err))
		}
	}
	if len(bytes.TrimSpace(text)) == 0 {
		if f.file != "" {
			return config, false, usage("--file: %s is empty", f.file)
		}
		if f.credentials != "" {
			return config, false, usage("--credentials-dir: requires --file or %s", backendConfigEnv)
		}
		return config, false, nil
	}
	secrets, err := readSecrets(f.credentials)
	if err != nil {
		return config, false, asUsage(fmt.Errorf("--credentials-dir: %w", err))
	}
	if config, err = backends.Parse(text, secrets); err != nil {
		return config, false, asUsage(fmt.Errorf("%s: %w", from, err))
	}
	return config, true, nil
}

// readSecrets reads the files that exist. Like the manager, it trims white space
// around a value.
func readSecrets(folder string) (secrets backends.Secrets, err error) {
	if folder == "" {
		return secrets, nil
	}
	read := func(name string) []byte {
		if err != nil {
			return nil
		}
		var content []byte
		content, err = readPlaceFile(filepath.Join(folder, name))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return bytes.TrimSpace(content)
	}
	secrets.AccessKey = storage.NewSecret(string(read("accessKey")))
	secrets.SecretKey = storage.NewSecret(string(read("secretKey")))
	secrets.SessionToken = storage.NewSecret(string(read("sessionToken")))
	if bundle := read("caBundle"); len(bundle) > 0 {
		secrets.CABundle = bundle
	}
	return secrets, err
}

func readPlaceFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxPlaceFile+1))
	if err == nil && len(content) > maxPlaceFile {
		err = fmt.Errorf("%s: larger than %d bytes", path, maxPlaceFile)
	}
	return content, err
}
