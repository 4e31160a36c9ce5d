using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Tomb.Tests;

/// <summary>A directory for one test, with a password file and real restic at hand.</summary>
internal sealed class Place : IDisposable
{
    public const string Password = "correct horse";

    // scrypt's N. What people's tombs have takes a third of a second for each time that anybody opens one, and these are opened some thousand times by us and by restic;
    // tombs with restic's own keys and with ours as they are made elsewhere are ReadingTests' and SavingTests' business.
    private const int Cost = 16;

    private static readonly Lazy<Place> Made = new(static () =>
    {
        var place = new Place();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => place.Dispose();
        place.ResticOn(place.TombPath, "init");
        place.Cheapen();
        return place;
    });

    public Place()
    {
        Directory.CreateDirectory(Path);
        File.WriteAllText(PasswordFile, Password + "\n");
    }

    public string Path { get; } = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"sbox-tomb-{Guid.NewGuid():N}");

    public string PasswordFile => this["password"];

    public string TombPath => this["tomb"];

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public static SecretMemory Secret(string password = Password) => new(System.Text.Encoding.UTF8.GetBytes(password));

    /// <summary>A new tomb that costs little to open.</summary>
    public static Task<TombRepository> Create(IBackend backend) => TombRepository.Create(backend, Secret(), Cost, TimeProvider.System, TestContext.Current.CancellationToken);

    /// <summary>Real restic on the tomb of this place. Those that it makes are one to begin with, and cost little to open.</summary>
    public string Restic(params string[] arguments) => arguments is ["init"] ? MadeByRestic() : ResticOn(TombPath, arguments);

    /// <summary>Real restic on any tomb, as it is.</summary>
    public string ResticOn(string where, params string[] arguments) =>
        Judge.Restic.Run(["-r", where, "--password-file", PasswordFile, "--no-cache", .. arguments]);

    // restic measures the machine for most of a second before it makes one; that is done once. Each has an id of its own, by which caches and boxes tell tombs apart.
    private string MadeByRestic()
    {
        Directory.CreateDirectory(TombPath);
        Judge.OnPath("cp").Run("-a", Made.Value.TombPath + "/.", TombPath);
        using Crypto.SealingKey master = Master(out _, out _);
        byte[] bytes = File.ReadAllBytes(this["tomb/config"]), plain = new byte[bytes.Length - Crypto.SealingKey.Overhead];
        Assert.True(master.TryOpen(bytes, plain));
        RepositoryConfig config = RepositoryConfig.Parse(plain) with { Id = Codecs.Checksum.FromBytes(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32)) };
        File.WriteAllBytes(this["tomb/config"], master.Seal(config.ToBytes()));
        return "";
    }

    /// <summary>Puts a key of the same password that costs little in the place of the only one of this place's tomb.</summary>
    public void Cheapen()
    {
        using Crypto.SealingKey master = Master(out string file, out KeyRecord key);
        using SecretMemory password = Secret();
        byte[] cheap = KeyRecord.Make(master, password, key.Created, key.Username, key.Hostname, Cost);
        File.WriteAllBytes(this[$"tomb/keys/{Codecs.Checksum.Of(cheap)}"], cheap);
        File.Delete(file);
    }

    public DirectoryBackend Backend() => new(TombPath);

    public Task<TombRepository> Open() => TombRepository.Open(Backend(), Secret(), TestContext.Current.CancellationToken);

    private Crypto.SealingKey Master(out string file, out KeyRecord key)
    {
        file = Assert.Single(Directory.GetFiles(this["tomb/keys"]));
        key = KeyRecord.Parse(File.ReadAllBytes(file), Codecs.Checksum.Parse(System.IO.Path.GetFileName(file)));
        using SecretMemory password = Secret();
        return key.Open(password)!;
    }

    public void Dispose()
    {
        using Dir parent = Dir.Open(System.IO.Path.GetTempPath());
        parent.RemoveAll(System.IO.Path.GetFileName(Path));
    }
}
