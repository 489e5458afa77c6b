package servers

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// startVersityGW keeps objects as files in a temporary folder, and their versions if a
// bucket asks for that and versions is true. more are flags for the server.
func startVersityGW(secure, versions bool, more ...string) (*s3Process, error) {
	bin, err := toolFolder("versitygw", "versitygw")
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "artifactstore-versitygw-")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"objects", "sidecar", "versions"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			return nil, err
		}
	}
	var authority []byte
	if secure {
		if authority, err = writeCertificate(folder, "public.crt", "private.key"); err != nil {
			return nil, err
		}
	}
	process := &s3Process{log: filepath.Join(folder, "log")}
	var address string
	if process.S3Server, address, err = newS3(VersityGW, authority); err != nil {
		return nil, err
	}
	arguments := append([]string{"--port", address, "--region", process.Region, "--health", "/health", "--keep-alive", "--quiet"}, more...)
	if secure {
		arguments = append(arguments, "--cert", filepath.Join(folder, "public.crt"), "--key", filepath.Join(folder, "private.key"))
	}
	arguments = append(arguments, "posix")
	if !hasXattrs(folder) {
		arguments = append(arguments, "--sidecar", filepath.Join(folder, "sidecar"))
	}
	if versions {
		arguments = append(arguments, "--versioning-dir", filepath.Join(folder, "versions"))
	}
	server := exec.Command(filepath.Join(bin, "versitygw"), append(arguments, filepath.Join(folder, "objects"))...)
	server.Dir = folder
	// Not as arguments, where every user of the machine could read them, and nothing else of this environment.
	server.Env = []string{
		"ROOT_ACCESS_KEY_ID=" + process.AccessKey, "ROOT_SECRET_ACCESS_KEY=" + process.SecretKey,
		"HOME=" + folder, "TMPDIR=" + folder, "PATH=/usr/bin:/bin",
	}
	exited, err := serve(server, syscall.SIGKILL, folder) // it keeps nothing that is worth a graceful end
	if err != nil {
		return nil, err
	}
	return process, process.answers(exited)
}

func hasXattrs(folder string) bool {
	return unix.Setxattr(folder, "user.artifactstore", []byte("1"), 0) == nil
}
