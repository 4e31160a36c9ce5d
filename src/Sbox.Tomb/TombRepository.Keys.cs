using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

public sealed partial class TombRepository
{
    /// <summary>Makes a key file: from then on this password opens the tomb too.</summary>
    public Task<KeyRecord> AddKey(SecretMemory password, TimeProvider clock, CancellationToken cancel) => AddKey(password, KeyRecord.NewCost, clock, cancel);

    private async Task<KeyRecord> AddKey(SecretMemory password, int cost, TimeProvider clock, CancellationToken cancel)
    {
        byte[] file = KeyRecord.Make(Key, password, Moment.Of(clock.GetUtcNow()), Environment.UserName, Environment.MachineName, cost);
        Checksum id = Checksum.Of(file);
        await Backend.Save(new StoredFile(StoredFileType.Key, id.ToString()), file, cancel);
        return KeyRecord.Parse(file, id);
    }

    /// <summary>All key files that can be read, oldest first.</summary>
    /// <param name="damaged">Gets those that cannot: no password opens the tomb with them.</param>
    /// <param name="cancel">Ends it.</param>
    public async Task<IReadOnlyList<KeyRecord>> Keys(ICollection<DamagedFile> damaged, CancellationToken cancel)
    {
        var keys = new List<KeyRecord>();
        foreach (ListedFile file in await Backend.List(StoredFileType.Key, cancel))
        {
            if (Checksum.TryParse(file.Name, out Checksum id) && await TryReadKey(Backend, id, damaged, cancel) is { } key)
                keys.Add(key);
        }

        keys.Sort(static (a, b) => a.Created.CompareTo(b.Created));
        return keys;
    }

    // Null for one that is not what was written, which is put among the damaged, and for one that was removed since it was listed.
    private static async Task<KeyRecord?> TryReadKey(IBackend backend, Checksum id, ICollection<DamagedFile> damaged, CancellationToken cancel)
    {
        var file = new StoredFile(StoredFileType.Key, id.ToString());
        try
        {
            return KeyRecord.Parse(await LoadNamed(backend, file, id, cancel), id);
        }
        catch (StoredFileMissingException)
        {
            return null;
        }
        catch (Exception wrong) when (DamagedFile.Finding(wrong) is not null)
        {
            damaged.Add(new DamagedFile(file, id, DamagedFile.Finding(wrong)!));
            return null;
        }
    }

    /// <summary>Deletes a key file: its password opens the tomb no more. The master key stays what it is.</summary>
    /// <exception cref="InvalidOperationException">It is the one that opened this tomb.</exception>
    public Task RemoveKey(Checksum id, CancellationToken cancel) => id == OpenedBy?.Id
        ? throw new InvalidOperationException("the key that opened the tomb is not removed by it")
        : Backend.Delete(new StoredFile(StoredFileType.Key, id.ToString()), cancel);
}
