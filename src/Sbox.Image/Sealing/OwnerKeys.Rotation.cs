using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>A change of keys: what boxes have to be told.</summary>
/// <param name="Key">The key that was made, or is refused from now on.</param>
/// <param name="Update">The file that firmware adds to a variable.</param>
/// <param name="Variable">That variable.</param>
public sealed record KeyChange(string Key, string Update, EfiVariable Variable);

public sealed partial class OwnerKeys
{
    /// <summary>The file that adds the newest key to a firmware's db.</summary>
    public const string DbUpdate = "db.update.auth";

    /// <summary>The file that makes a firmware refuse the keys that were revoked.</summary>
    public const string DbxUpdate = "dbx.update.auth";

    /// <summary>
    /// Makes a new db key. The one before it becomes <c>db-N</c> and goes on signing beside it, until it is revoked: boxes that know only one of them start
    /// what is sealed from now on all the same. The directory is changed as a whole.
    /// </summary>
    /// <param name="passphrase">Opens KEK, and encrypts the new key.</param>
    /// <param name="clock">Dates certificate and updates.</param>
    /// <param name="token">The URI of a key on a PKCS#11 token that takes over; null makes one.</param>
    /// <exception cref="WrongPassphraseException">The passphrase is not that of KEK.</exception>
    public KeyChange RotateDb(Passphrase passphrase, TimeProvider clock, string? token = null)
    {
        Change(dir =>
        {
            DateTimeOffset now = Now(clock);
            using var kek = new Signer(Certificate(dir, Kek), OpenRsa(dir, Kek, passphrase));
            using X509Certificate2 old = Certificate(dir, Db);
            string kept = NextOld(dir);
            foreach (string ending in ((string[])["key", "uri", "crt"]).Where(ending => dir.Exists($"{Db}.{ending}")))
                dir.Rename($"{Db}.{ending}", dir, $"{kept}.{ending}");
            dir.TryUnlink($"{Db}.auth");
            using Signer db = NewSigner(old.GetNameInfo(X509NameType.SimpleName, forIssuer: false), now, token is null ? null : TokenKey.Open(token, passphrase));
            WritePrivate(dir, Db, db, passphrase, token);
            Write(dir, $"{Db}.crt", Encoding.ASCII.GetBytes(db.Certificate.ExportCertificatePem() + "\n"));
            WriteDb(dir, kek, now);
            Replace(dir, DbUpdate, EfiAuthenticatedVariable.Sign(EfiVariable.Db, EfiSignatureList.Of(db.Certificate, OwnerId(dir)), now, kek, append: true));
        });
        return new KeyChange(Db, Path.Combine(Directory, DbUpdate), EfiVariable.Db);
    }

    /// <summary>
    /// Revokes an older db key: nothing is signed by it any more, its private part is deleted, and firmware that is given the update starts nothing that
    /// bears its signature, whoever else signed it too.
    /// </summary>
    /// <param name="name">Such as <c>db-1</c>.</param>
    /// <param name="passphrase">Opens KEK.</param>
    /// <param name="clock">Dates the update.</param>
    /// <exception cref="LinuxException">There is no such older key (ENOENT).</exception>
    public KeyChange Revoke(string name, Passphrase passphrase, TimeProvider clock)
    {
        Change(dir =>
        {
            if (!Older(dir).Contains(name))
                throw new LinuxException(Errno.ENOENT, "revoke", dir.Of($"{name}.key"));
            DateTimeOffset now = Now(clock);
            using var kek = new Signer(Certificate(dir, Kek), OpenRsa(dir, Kek, passphrase));
            dir.TryUnlink($"{name}.key");
            dir.TryUnlink($"{name}.uri");
            dir.Rename($"{name}.crt", dir, $"{name}.revoked.crt");
            WriteDb(dir, kek, now);
            byte[] lists = [.. dir.Entries().Select(static entry => entry.Name).Where(static file => file.EndsWith(".revoked.crt", StringComparison.Ordinal)).Order(StringComparer.Ordinal)
                .SelectMany(file => EfiSignatureList.Of(Certificate(dir, file[..^4]), OwnerId(dir)))];
            Replace(dir, DbxUpdate, EfiAuthenticatedVariable.Sign(EfiVariable.Dbx, lists, now, kek, append: true));
        });
        return new KeyChange(name, Path.Combine(Directory, DbxUpdate), EfiVariable.Dbx);
    }

    private static IReadOnlyList<string> Older(Dir dir) => [.. dir.Entries().Select(static entry => entry.Name)
        .Where(static file => file.StartsWith($"{Db}-", StringComparison.Ordinal) && (file.EndsWith(".key", StringComparison.Ordinal) || file.EndsWith(".uri", StringComparison.Ordinal))).Select(static file => file[..^4]).Order(StringComparer.Ordinal)];

    private static string NextOld(Dir dir)
    {
        string[] files = [.. dir.Entries().Select(static entry => entry.Name)];
        int number = 1;
        while (files.Any(file => file.StartsWith(string.Create(CultureInfo.InvariantCulture, $"{Db}-{number}."), StringComparison.Ordinal)))
            number++;
        return string.Create(CultureInfo.InvariantCulture, $"{Db}-{number}");
    }

    // What a new machine enrolls: all that may sign, none that was revoked.
    private static void WriteDb(Dir dir, Signer kek, DateTimeOffset now)
    {
        byte[] lists = [.. Older(dir).Reverse().Prepend(Db).SelectMany(name => EfiSignatureList.Of(Certificate(dir, name), OwnerId(dir)))];
        Replace(dir, $"{Db}.auth", EfiAuthenticatedVariable.Sign(EfiVariable.Db, lists, now, kek));
    }

    private static Guid OwnerId(Dir dir) => new(Certificate(dir, Pk).GetCertHash(HashAlgorithmName.SHA256).AsSpan(0, 16));

    private static DateTimeOffset Now(TimeProvider clock) => DateTimeOffset.FromUnixTimeSeconds(clock.GetUtcNow().ToUnixTimeSeconds());

    private static void Replace(Dir dir, string name, byte[] content)
    {
        dir.TryUnlink(name);
        Write(dir, name, content);
    }

    // A copy is changed and exchanged with the directory: cut at any moment, all keys are the old ones or the new.
    private void Change(Action<Dir> change)
    {
        string path = Path.TrimEndingDirectorySeparator(Path.GetFullPath(Directory)), name = Path.GetFileName(path), copy = $".{name}.changing";
        using Dir parent = Dir.Open(Path.GetDirectoryName(path)!);
        if (parent.Exists(copy))
            parent.RemoveAll(copy);
        try
        {
            TreeCopy.Recursive(parent, name, parent, copy);
            using (Dir dir = parent.OpenDir(copy))
            {
                change(dir);
                Durable.SyncFileSystem(dir);
            }

            parent.Exchange(copy, parent, name);
            Durable.Sync(parent);
        }
        finally
        {
            parent.RemoveAll(copy); // the old keys, or the new ones of a change that was refused
        }
    }
}
