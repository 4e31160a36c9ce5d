namespace Sbox.Codecs.Gpt;

/// <summary>A partition.</summary>
/// <param name="Type">What it is for.</param>
/// <param name="Id">Which it is, the world over.</param>
/// <param name="First">Its first sector.</param>
/// <param name="Last">Its last sector, which belongs to it.</param>
/// <param name="Attributes">Bits that say how it is treated.</param>
/// <param name="Name">Its name, of 36 UTF-16 units at most.</param>
public sealed record GptPartition(Guid Type, Guid Id, long First, long Last, ulong Attributes, string Name)
{
    /// <summary>How many sectors it has.</summary>
    public long Sectors => Last - First + 1;
}
