// Package cronjobs keeps a CronJob for each StorageBackend that is verified by
// schedule. Its pods run artifactstore storage verify.
package cronjobs
