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

    /// <summary>All key files, oldest first.</summary>
    public async Task<IReadOnlyList<KeyRecord>> Keys(CancellationToken cancel)
    {
        var keys = new List<KeyRecord>();
        foreach (ListedFile file in await Backend.List(StoredFileType.Key, cancel))
        {
            if (Checksum.TryParse(file.Name, out Checksum id))
                keys.Add(KeyRecord.Parse(await LoadNamed(Backend, new StoredFile(StoredFileType.Key, file.Name), id, cancel), id));
        }

        keys.Sort(static (a, b) => a.Created.CompareTo(b.Created));
        return keys;
    }

    /// <summary>Deletes a key file: its password opens the tomb no more. The master key stays what it is.</summary>
    /// <exception cref="InvalidOperationException">It is the one that opened this tomb.</exception>
    public Task RemoveKey(Checksum id, CancellationToken cancel) => id == OpenedBy?.Id
        ? throw new InvalidOperationException("the key that opened the tomb is not removed by it")
        : Backend.Delete(new StoredFile(StoredFileType.Key, id.ToString()), cancel);
}
